//! Text that is safe inside HTML.

use std::fmt::{self, Write};

/// Shows a text with the characters replaced that mean something in HTML, also within quotes.
///
/// ```
/// use freestone_pictures::html::Escaped;
/// assert_eq!(Escaped("Vec<&'a str>").to_string(), "Vec&lt;&amp;&#39;a str&gt;");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Neither HTML nor SVG has them.
                c if c.is_control() && c != '\n' && c != '\t' => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Data as JSON inside a script element that only the page's script reads. A less-than sign would end the element.
pub fn json_element(class: &str, data: &impl serde::Serialize) -> String {
    let json = serde_json::to_string(data).unwrap_or_else(|_| "null".into()).replace('<', "\\u003c");
    format!("<script type=\"application/json\" class=\"{class}\">{json}</script>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes_from_a_script_element() {
        let text = json_element("data", &"</script><script>alert(1)</script>");
        assert_eq!(text.matches("</script>").count(), 1);
        assert!(text.contains("\\u003c/script>"));
    }

    #[test]
    fn control_characters_do_not_pass() {
        assert_eq!(Escaped("a\0b\u{1b}[1m").to_string(), "a\u{fffd}b\u{fffd}[1m");
    }
}
