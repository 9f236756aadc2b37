//! A chart of pools by their size, as SVG: who is refused, and what is billed.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::pool::{Rule, lend};
use super::price::{cents, dollars, grouped};
use super::report::{advice, dearest, span};
use super::{Plan, with_reserve};

const TITLE: &str = "Guests by the size of their pool";

/// How many sizes are tried up to what is needed, besides those in question.
const STEPS: u64 = 12;

/// The picture's size, and where its two panels are, in pixels.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 640.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 710.0;
const PANEL: f64 = 180.0;
const UPPER: f64 = 110.0;
const LOWER: f64 = 350.0;

/// A pool in the chart.
struct Point {
    guests: u32,
    refused_percent: f64,
    billed: u32,
}

/// The chart of this plan.
pub(super) fn chart(plan: &Plan) -> String {
    let points = points(plan);
    let largest = points.last().map_or(1, |point| point.guests);
    let mut drawing = Drawing::new(largest, &advice(plan));
    let visits = match plan.visits.all.len() {
        1 => "1 visit".to_owned(),
        count => format!("{} visits", grouped(count as u64)),
    };
    let (from, to) = span(plan);
    drawing.text(LEFT, 34.0, "title", TITLE);
    let when = format!("{visits}, from {from} to {to}");
    drawing.text(LEFT, 56.0, "note", &when);

    let refused = points.iter().map(|point| (point.guests, point.refused_percent));
    let most = points.iter().map(|point| point.refused_percent).fold(1.0, f64::max);
    drawing.panel(UPPER, "Visitors refused, in %", (most, 0.1), refused.collect());
    let billed = points.iter().map(|point| (point.guests, f64::from(point.billed)));
    let most = points.iter().map(|point| point.billed).max().unwrap_or(1);
    let name = "Guests billed in the dearest month";
    drawing.panel(LOWER, name, (most.into(), 1.0), billed.collect());
    drawing.need(plan.need);

    drawing.text(f64::midpoint(LEFT, RIGHT), LOWER + PANEL + 42.0, "axis", "Guests in the pool");
    let bill = |billed| format!("{} billed, {}.", grouped(billed), dollars(cents(billed)));
    if let Some(enough) = points.iter().find(|point| point.guests == plan.need) {
        let ours = format!("From {} on: {}", guests(plan.need), bill(enough.billed.into()));
        drawing.text(LEFT, LOWER + PANEL + 70.0, "note", &ours);
    }
    let today = format!("One identity each visitor: {}", bill(dearest(&plan.one_each)));
    drawing.text(LEFT, LOWER + PANEL + 90.0, "note", &today);
    drawing.end()
}

fn points(plan: &Plan) -> Vec<Point> {
    let visits = &plan.visits.all;
    let steps = (1..=STEPS).map(|step| u64::from(plan.need) * step / STEPS);
    let mut sizes: BTreeSet<u32> = steps.filter_map(|size| u32::try_from(size).ok()).collect();
    sizes.extend(plan.pools.iter().map(|(size, _)| *size));
    sizes.insert(with_reserve(plan.need));
    sizes.remove(&0);
    // What is much larger is like what is needed, and would press that to the left.
    sizes.retain(|size| *size / 2 <= plan.need);
    let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let point = |guests| {
        let known = plan.pools.iter().find(|(size, _)| *size == guests);
        let tried = known
            .map_or_else(|| lend(visits, guests, Rule::ActiveFirst), |(_, fared)| fared.clone());
        let refused = f64::from(number(tried.refused)) / f64::from(number(visits.len() as u64));
        Point { guests, refused_percent: 100.0 * refused, billed: number(dearest(&tried.billed)) }
    };
    sizes.into_iter().map(point).collect()
}

struct Drawing {
    svg: String,
    /// The size at the right end.
    largest: u32,
}

impl Drawing {
    /// An empty one, with what it says for those who do not see it.
    fn new(largest: u32, description: &str) -> Self {
        let svg = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{TITLE}">
<desc>{description}</desc>
<style>
text {{ font: 13px sans-serif; fill: #333 }}
.title {{ font-size: 20px; font-weight: bold }}
.note {{ fill: #555 }}
.name {{ font-weight: bold }}
.axis, .tick-x {{ text-anchor: middle }}
.tick-y, .before {{ text-anchor: end }}
.grid {{ stroke: #ddd }}
.line {{ fill: none; stroke: #0b5cad; stroke-width: 2.5 }}
.point {{ fill: #0b5cad }}
.need {{ fill: #a33 }}
.mark {{ stroke: #a33; stroke-dasharray: 5 4 }}
</style>
<rect width="100%" height="100%" fill="#fff"/>
"##
        );
        Self { svg, largest }
    }

    /// Words of ours, in which nothing has to be escaped.
    fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.write(&format!(r#"<text x="{x:.1}" y="{y:.1}" class="{class}">{text}</text>"#));
    }

    /// Lines that are named on their axes, to `most` and no closer than `least_step`, and through `points` the one that it is about.
    fn panel(
        &mut self,
        top: f64,
        name: &str,
        (most, least_step): (f64, f64),
        points: Vec<(u32, f64)>,
    ) {
        let bottom = top + PANEL;
        self.text(LEFT, top - 14.0, "name", name);
        let step = step(most).max(least_step);
        let highest = (most / step).ceil() * step;
        let y = |value: f64| bottom - PANEL * value / highest;
        let mut tick = 0.0;
        while tick <= highest {
            self.grid((LEFT, y(tick)), (RIGHT, y(tick)));
            self.text(LEFT - 8.0, y(tick) + 4.0, "tick-y", &label(tick));
            tick += step;
        }
        let across = step_of_guests(self.largest);
        for guests in (0..=self.largest).step_by(across as usize) {
            self.text(self.x(guests), bottom + 18.0, "tick-x", &grouped(guests.into()));
        }
        let mut path = String::new();
        for (guests, value) in &points {
            let _infallible = write!(path, "{:.1},{:.1} ", self.x(*guests), y(*value));
        }
        self.write(&format!(r#"<polyline class="line" points="{}"/>"#, path.trim_end()));
        for (size, value) in points {
            let (x, y) = (self.x(size), y(value));
            let told = format!("{}: {}", guests(size), label(value));
            self.write(&format!(
                r#"<circle class="point" cx="{x:.1}" cy="{y:.1}" r="3.5"><title>{told}</title></circle>"#
            ));
        }
    }

    /// A mark at the smallest pool that refuses nobody.
    fn need(&mut self, need: u32) {
        let x = self.x(need);
        for top in [UPPER, LOWER] {
            let bottom = top + PANEL;
            self.write(&format!(
                r#"<line class="mark" x1="{x:.1}" y1="{top}" x2="{x:.1}" y2="{bottom}"/>"#
            ));
        }
        let verb = if need == 1 { "refuses" } else { "refuse" };
        let told = format!("{} {verb} nobody", grouped(need.into()));
        // Nobody is refused to its right, so that there is room; near the end there is more on its left.
        let (x, class) =
            if x < RIGHT - 150.0 { (x + 8.0, "need") } else { (x - 8.0, "need before") };
        self.text(x, UPPER + 20.0, class, &told);
    }

    fn grid(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        self.write(&format!(
            r#"<line class="grid" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        ));
    }

    fn x(&self, guests: u32) -> f64 {
        LEFT + (RIGHT - LEFT) * f64::from(guests) / f64::from(self.largest)
    }

    fn write(&mut self, element: &str) {
        let _infallible = writeln!(self.svg, "{element}");
    }

    fn end(mut self) -> String {
        self.write("</svg>");
        self.svg
    }
}

/// The distance between two lines, 1, 2 or 5 times a power of ten, so that there are seven at most.
fn step(most: f64) -> f64 {
    let mut power = 0.1;
    loop {
        for times in [1.0, 2.0, 5.0] {
            if most / (power * times) <= 6.0 {
                return power * times;
            }
        }
        power *= 10.0;
    }
}

/// The same between two pools, in whole guests.
fn step_of_guests(most: u32) -> u32 {
    let mut power = 1_u32;
    loop {
        for times in [1, 2, 5] {
            if most / power / times <= 6 {
                return power * times;
            }
        }
        power = power.saturating_mul(10);
    }
}

fn guests(count: u32) -> String {
    let noun = if count == 1 { "guest" } else { "guests" };
    format!("{} {noun}", grouped(count.into()))
}

/// A value at a line, without what is zero behind the point, and in groups before it.
fn label(value: f64) -> String {
    let text = format!("{value:.1}");
    let (whole, tenths) = text.split_once('.').unwrap_or((&text, "0"));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), grouped);
    if tenths == "0" { whole } else { format!("{whole}.{tenths}") }
}
