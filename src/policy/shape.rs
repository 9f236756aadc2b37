//! What is known of the text that an identity rule yields before it is run: how it begins, or that it is a hash of something
//! that begins so. By that two rules are told apart whose identities can never be equal.

use cel::IdedExpr;
use cel::common::ast::{Expr, operators};
use uuid::Uuid;

use super::reads::{claim_of, literal};
use crate::ids::GUEST_PREFIX;

/// All texts that an expression can yield, or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Text that begins so; when `whole`, it is that.
    Text { begins: String, whole: bool },
    /// A version 5 UUID of such a name in such a namespace.
    Uuid { namespace: Box<Self>, name: Box<Self> },
    /// A SHA-256 in hexadecimal of such text.
    Hex { input: Box<Self> },
}

/// What is fixed for all subjects of a provider.
#[derive(Clone, Copy)]
pub(super) struct Fixed<'a> {
    /// Its name.
    pub(super) provider: &'a str,
    /// Its issuer, where that is known. In curly brackets stands what differs from tenant to tenant.
    pub(super) issuer: Option<&'a str>,
}

/// With more alternatives than this, an expression is taken to yield anything.
const MOST: usize = 32;

impl Shape {
    fn any() -> Self {
        Self::Text { begins: String::new(), whole: false }
    }

    fn whole(text: &str) -> Self {
        Self::Text { begins: text.to_owned(), whole: true }
    }

    /// What the default identity of an issuer's subjects is.
    pub(super) fn default_identity(issuer: &str) -> Self {
        let url = Self::whole(&Uuid::NAMESPACE_URL.to_string());
        let namespace =
            Self::Uuid { namespace: url.into(), name: issuer_shape(Some(issuer)).into() };
        Self::Uuid { namespace: namespace.into(), name: Self::any().into() }
    }

    /// One for each alternative of `expr`.
    pub(super) fn of(expr: &IdedExpr, fixed: Fixed<'_>) -> Vec<Self> {
        let shapes = Self::alternatives(expr, fixed);
        if shapes.len() > MOST { vec![Self::any()] } else { shapes }
    }

    fn alternatives(expr: &IdedExpr, fixed: Fixed<'_>) -> Vec<Self> {
        if let Some(text) = literal(expr) {
            return vec![Self::whole(text)];
        }
        if claim_of(expr) == Some("iss") {
            return vec![issuer_shape(fixed.issuer)];
        }
        let call = match &expr.expr {
            Expr::Ident(name) if name == "provider" => return vec![Self::whole(fixed.provider)],
            Expr::Call(call) => call,
            _ => return vec![Self::any()],
        };
        let of = |expr: &IdedExpr| Self::of(expr, fixed);
        match (call.func_name.as_str(), &call.target, call.args.as_slice()) {
            (operators::CONDITIONAL, None, [_, yes, no]) => [of(yes), of(no)].concat(),
            (operators::ADD, None, [left, right]) => both(of(left), &of(right), Self::followed_by),
            ("uuid5", None, [namespace, name]) => {
                both(of(namespace), &of(name), |namespace, name| Self::Uuid {
                    namespace: namespace.canonical().into(),
                    name: name.into(),
                })
            }
            ("sha256", None, [input]) => {
                of(input).into_iter().map(|input| Self::Hex { input: input.into() }).collect()
            }
            ("lower", None, [text]) => of(text).into_iter().map(Self::lower).collect(),
            ("lowerAscii", Some(text), []) => of(text).into_iter().map(Self::lower).collect(),
            _ => vec![Self::any()],
        }
    }

    fn followed_by(self, next: Self) -> Self {
        match (self, next) {
            (Self::Text { begins, whole: true }, Self::Text { begins: more, whole }) => {
                Self::Text { begins: begins + &more, whole }
            }
            (Self::Text { begins, .. }, _) => Self::Text { begins, whole: false },
            _ => Self::any(),
        }
    }

    /// Only of ASCII is it certain that what follows does not change it.
    fn lower(self) -> Self {
        match self {
            Self::Text { begins, whole } if begins.is_ascii() => {
                Self::Text { begins: begins.to_ascii_lowercase(), whole }
            }
            Self::Text { .. } => Self::any(),
            hash => hash,
        }
    }

    /// A namespace as the UUID that it stands for.
    fn canonical(self) -> Self {
        let Self::Text { begins, whole: true } = &self else { return self };
        let uuid = match begins.as_str() {
            "url" => Some(Uuid::NAMESPACE_URL),
            "dns" => Some(Uuid::NAMESPACE_DNS),
            other => Uuid::try_parse(other).ok(),
        };
        uuid.map_or_else(Self::any, |uuid| Self::whole(&uuid.to_string()))
    }

    /// Whether one text can be of both shapes.
    pub(super) fn can_equal(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text { begins, whole }, Self::Text { begins: other, whole: other_whole }) => {
                let this_fits =
                    begins.starts_with(other.as_str()) && (!other_whole || begins == other);
                let other_fits = other.starts_with(begins.as_str()) && (!whole || begins == other);
                this_fits || other_fits
            }
            (Self::Uuid { namespace, name }, Self::Uuid { namespace: other, name: other_name }) => {
                namespace.can_equal(other) && name.can_equal(other_name)
            }
            (Self::Hex { input }, Self::Hex { input: other }) => input.can_equal(other),
            (Self::Uuid { .. }, Self::Hex { .. }) | (Self::Hex { .. }, Self::Uuid { .. }) => false,
            (Self::Text { begins, whole }, Self::Uuid { .. })
            | (Self::Uuid { .. }, Self::Text { begins, whole }) => {
                begins.char_indices().all(|(at, c)| fits_uuid5(at, c))
                    && (!whole || begins.len() == 36)
            }
            (Self::Text { begins, whole }, Self::Hex { .. })
            | (Self::Hex { .. }, Self::Text { begins, whole }) => {
                begins.chars().all(is_hex)
                    && if *whole { begins.len() == 64 } else { begins.len() <= 64 }
            }
        }
    }

    /// Whether it can be a guest's identity.
    pub(super) fn can_be_a_guest(&self) -> bool {
        self.can_equal(&Self::Text { begins: GUEST_PREFIX.to_owned(), whole: false })
    }
}

fn issuer_shape(issuer: Option<&str>) -> Shape {
    let Some(issuer) = issuer else { return Shape::any() };
    match issuer.split_once('{') {
        None => Shape::whole(issuer),
        Some((begins, _)) => Shape::Text { begins: begins.to_owned(), whole: false },
    }
}

/// Each of `left` with each of `right`.
fn both(left: Vec<Shape>, right: &[Shape], join: fn(Shape, Shape) -> Shape) -> Vec<Shape> {
    let pairs = left
        .into_iter()
        .flat_map(|left| right.iter().map(move |right| (left.clone(), right.clone())));
    pairs.map(|(left, right)| join(left, right)).collect()
}

/// Whether `c` can stand at `at` in a lower-case version 5 UUID (RFC 9562 §5.5).
fn fits_uuid5(at: usize, c: char) -> bool {
    match at {
        8 | 13 | 18 | 23 => c == '-',
        14 => c == '5',
        19 => matches!(c, '8' | '9' | 'a' | 'b'),
        0..36 => is_hex(c),
        _ => false,
    }
}

fn is_hex(c: char) -> bool {
    matches!(c, '0'..='9' | 'a'..='f')
}
