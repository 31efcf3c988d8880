//! Names that every service accepts: lower-case letters, digits and single hyphens.

/// `text` as a name of at most `most` characters. Other characters become hyphens, which neither start nor end the name.
pub(super) fn slug(text: &str, most: usize) -> String {
    let mut name = String::new();
    for char in text.chars() {
        match char.to_ascii_lowercase() {
            char if char.is_ascii_alphanumeric() => name.push(char),
            _ if name.ends_with('-') || name.is_empty() => {}
            _ => name.push('-'),
        }
        if name.len() == most {
            break;
        }
    }
    name.truncate(name.trim_end_matches('-').len());
    name
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn slug_has_only_allowed_characters() {
        assert_eq!(slug("My Job / v1.2", 40), "my-job-v1-2");
        assert_eq!(slug("--Grüße--", 40), "gr-e");
        assert_eq!(slug("abc-def", 4), "abc");
        assert_eq!(slug("日本", 4), "");
    }
}
