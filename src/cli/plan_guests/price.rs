//! What active users cost in a month, by Twilio's published tiers.

/// Active users to this one cost the second, each, in hundredths of a cent. Nothing is published beyond the last, whose price is
/// assumed to go on.
const TIERS: [(u64, u64); 4] = [(200, 0), (5_000, 500), (10_000, 475), (20_000, 450)];

/// Said wherever a price is.
pub(super) const PUBLISHED: &str = "Prices are those published in 2026-09 (200 active users a month free, to 5,000 at $0.05, to 10,000 at $0.0475, to \
    20,000 at $0.045; beyond, where none is known, that is assumed): check yours. Members that are active use up the same 200.";

/// How many cost nothing.
pub(super) const FREE: u64 = TIERS[0].0;

/// The price of this many active users of one month, in whole cents.
pub(super) fn cents(users: u64) -> u64 {
    let mut sum = 0;
    let mut below = 0;
    for (to, each) in TIERS {
        sum += (users.min(to) - below) * each;
        if users <= to {
            return sum.div_ceil(100);
        }
        below = to;
    }
    let (_, last) = TIERS[TIERS.len() - 1];
    (sum + (users - below) * last).div_ceil(100)
}

/// `$1,377.50`.
pub(super) fn dollars(cents: u64) -> String {
    format!("${}.{:02}", grouped(cents / 100), cents % 100)
}

/// A number with commas: `30,000`.
pub(super) fn grouped(number: u64) -> String {
    if number < 1000 {
        return number.to_string();
    }
    format!("{},{:03}", grouped(number / 1000), number % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_costs_what_its_tier_says() {
        for (users, price) in [
            (0, "$0.00"),
            (200, "$0.00"),
            (201, "$0.05"),
            (5_000, "$240.00"),
            (5_001, "$240.05"),
            (10_000, "$477.50"),
            (10_002, "$477.59"),
            (20_000, "$927.50"),
            (30_000, "$1,377.50"),
            (1_000_000, "$45,027.50"),
        ] {
            assert_eq!(dollars(cents(users)), price, "{users}");
        }
    }

    #[test]
    fn the_tiers_are_told_as_they_are() {
        for (to, each) in TIERS.into_iter().skip(1) {
            let each = f64::from(u32::try_from(each).unwrap()) / 10_000.0;
            let told = format!("to {} at ${each}", grouped(to));
            assert!(PUBLISHED.contains(&told), "{told}");
        }
        assert!(PUBLISHED.contains(&format!("{FREE} active users a month free")));
        assert!(PUBLISHED.ends_with(&format!("use up the same {FREE}.")));
    }
}
