//! Writes out `//!unroll` loops: a small reader of WGSL's tokens, `for` headers and integer expressions.

use super::{ShaderError, UnrollReason};
use std::collections::HashMap;

/// More copies of loop bodies than this in one shader are taken for a mistake in a bound.
const MAX_COPIES: usize = 1 << 16;

/// Appends `text` to `out` with every `//!unroll` loop in it written out.
pub(super) fn unroll(
    text: &str,
    known: &HashMap<&str, i64>,
    copies: &mut usize,
    out: &mut String,
) -> Result<(), ShaderError> {
    let mut rest = text;
    while let Some(at) = find_directive(rest) {
        out.push_str(&rest[..at]);
        let after = rest[at..].find('\n').map_or("", |n| &rest[at + n + 1..]);
        let fail = |reason| {
            let header = after.trim_start().lines().next().unwrap_or("").to_string();
            ShaderError::Unroll { header, reason }
        };
        let (f, tail) = parse_for(after).ok_or_else(|| fail(UnrollReason::Form))?;
        let bound = |e: &str| evaluate(e, known).ok_or_else(|| fail(UnrollReason::Bound));
        let (start, end, step) = (bound(f.start)?, bound(f.end)?, bound(f.step)?);
        if step <= 0 {
            return Err(fail(UnrollReason::Trips));
        }
        let body = inspect_body(f.body, f.variable).map_err(fail)?;
        let mut i = start;
        while i < end {
            *copies += 1;
            if *copies > MAX_COPIES {
                return Err(fail(UnrollReason::Trips));
            }
            let literal = if i < 0 { format!("({i}{})", f.suffix) } else { format!("{i}{}", f.suffix) };
            let copy = substitute(f.body, f.variable, &literal);
            if body.declares {
                out.push('{');
            }
            unroll(&copy, known, copies, out)?;
            if body.declares {
                out.push('}');
            }
            out.push('\n');
            i += step;
        }
        rest = tail;
    }
    out.push_str(rest);
    Ok(())
}

/// The offset of the first line that is an `//!unroll` directive.
fn find_directive(text: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim() == "//!unroll" {
            return Some(at);
        }
        at += line.len();
    }
    None
}

/// `for (var VARIABLE = START; VARIABLE < END; VARIABLE += STEP) { BODY }`
struct ForLoop<'a> {
    variable: &'a str,
    /// The literal suffix of the variable's type; empty leaves the type to where the literal stands.
    suffix: &'static str,
    start: &'a str,
    end: &'a str,
    step: &'a str,
    body: &'a str,
}

/// Splits the loop that `text` begins with from what follows it.
fn parse_for(text: &str) -> Option<(ForLoop<'_>, &str)> {
    let open = text.trim_start().strip_prefix("for")?.trim_start().strip_prefix('(')?;
    let (init, open) = open.split_once(';')?;
    let (condition, open) = open.split_once(';')?;
    let (increment, open) = open.split_once('{')?;
    let increment = increment.trim_end().strip_suffix(')')?.trim();

    let (left, start) = init.trim().strip_prefix("var ")?.split_once('=')?;
    let (variable, ty) = match left.split_once(':') {
        Some((variable, ty)) => (variable.trim(), Some(ty.trim())),
        None => (left.trim(), None),
    };
    let start = start.trim();
    let suffix = match ty {
        Some("u32") => "u",
        Some("i32") => "i",
        Some(_) => return None,
        None if start.ends_with('u') => "u",
        None if start.ends_with('i') => "i",
        None => "",
    };
    let end = condition.trim().strip_prefix(variable)?.trim_start().strip_prefix('<')?;
    if end.starts_with(['=', '<']) {
        return None;
    }
    let increment = increment.strip_prefix(variable)?.trim();
    let step = match increment {
        "++" => "1",
        _ => increment.strip_prefix("+=")?,
    };

    let close = matching_brace(open)?;
    let f = ForLoop { variable, suffix, start, end, step, body: &open[..close] };
    Some((f, &open[close + 1..]))
}

/// The offset of the brace that closes the one just before `text`.
fn matching_brace(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for token in tokens(text) {
        match token.text {
            "{" => depth += 1,
            "}" if depth == 0 => return Some(token.at),
            "}" => depth -= 1,
            _ => {}
        }
    }
    None
}

struct Body {
    /// Whether a copy needs a block of its own to keep its names apart from the next copy's.
    declares: bool,
}

fn inspect_body(text: &str, variable: &str) -> Result<Body, UnrollReason> {
    let mut declares = false;
    // Braces and parentheses: the variable of a loop inside belongs to that loop.
    let mut depth = 0usize;
    let mut after_declaration = false;
    for token in tokens(text) {
        if after_declaration && token.text == variable {
            return Err(UnrollReason::Shadowed);
        }
        after_declaration = matches!(token.text, "let" | "var" | "const");
        declares |= after_declaration && depth == 0;
        match token.text {
            "{" | "(" => depth += 1,
            "}" | ")" => depth = depth.saturating_sub(1),
            "break" | "continue" => return Err(UnrollReason::Jump),
            _ => {}
        }
    }
    Ok(Body { declares })
}

/// `text` with every use of the identifier `name` replaced; member names stay.
fn substitute(text: &str, name: &str, literal: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut copied = 0;
    let mut previous = "";
    for token in tokens(text) {
        if token.text == name && previous != "." {
            out.push_str(&text[copied..token.at]);
            out.push_str(literal);
            copied = token.at + name.len();
        }
        previous = token.text;
    }
    out.push_str(&text[copied..]);
    out
}

struct Token<'a> {
    at: usize,
    text: &'a str,
}

/// Identifiers, numbers (with their suffix) and single punctuation marks; comments and blanks are left out.
fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = &text[at..];
            let first = rest.chars().next()?;
            let word = |c: char| c.is_alphanumeric() || c == '_';
            let len = if rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                rest.find("*/").map_or(rest.len(), |n| n + 2)
            } else if first.is_whitespace() {
                first.len_utf8()
            } else {
                let len = if word(first) {
                    rest.find(|c| !word(c)).unwrap_or(rest.len())
                } else {
                    first.len_utf8()
                };
                let token = Token { at, text: &rest[..len] };
                at += len;
                return Some(token);
            };
            at += len;
        }
    })
}

/// The value of an integer expression of literals, known constants, `+ - * / %` and parentheses.
pub(super) fn evaluate(expression: &str, known: &HashMap<&str, i64>) -> Option<i64> {
    let tokens: Vec<&str> = tokens(expression).map(|t| t.text).collect();
    let mut at = 0;
    let value = sum(&tokens, &mut at, known)?;
    (at == tokens.len()).then_some(value)
}

fn sum(tokens: &[&str], at: &mut usize, known: &HashMap<&str, i64>) -> Option<i64> {
    let mut value = product(tokens, at, known)?;
    while let Some(&sign @ ("+" | "-")) = tokens.get(*at) {
        *at += 1;
        let right = product(tokens, at, known)?;
        value = if sign == "+" { value.checked_add(right)? } else { value.checked_sub(right)? };
    }
    Some(value)
}

fn product(tokens: &[&str], at: &mut usize, known: &HashMap<&str, i64>) -> Option<i64> {
    let mut value = factor(tokens, at, known)?;
    while let Some(&sign @ ("*" | "/" | "%")) = tokens.get(*at) {
        *at += 1;
        let right = factor(tokens, at, known)?;
        value = match sign {
            "*" => value.checked_mul(right)?,
            "/" => value.checked_div(right)?,
            _ => value.checked_rem(right)?,
        };
    }
    Some(value)
}

fn factor(tokens: &[&str], at: &mut usize, known: &HashMap<&str, i64>) -> Option<i64> {
    let token = *tokens.get(*at)?;
    *at += 1;
    match token {
        "-" => factor(tokens, at, known)?.checked_neg(),
        "(" => {
            let value = sum(tokens, at, known)?;
            (*tokens.get(*at)? == ")").then(|| *at += 1)?;
            Some(value)
        }
        _ if token.starts_with(|c: char| c.is_ascii_digit()) => {
            let digits = token.strip_suffix(['u', 'i']).unwrap_or(token);
            match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
                Some(hex) => i64::from_str_radix(hex, 16).ok(),
                None => digits.parse().ok(),
            }
        }
        _ => known.get(token).copied(),
    }
}
