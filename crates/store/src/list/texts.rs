//! Locations or ACLs of one leaf, each once.

use super::room;

/// Texts that the entries of a leaf use, by number. One that nobody uses any more leaves its octets
/// behind until they are half of all.
#[derive(Clone, Default)]
pub(super) struct Texts {
    octets: Vec<u8>,
    spans: Vec<Span>,
    unused: usize,
}

#[derive(Clone, Copy, Default)]
struct Span {
    at: u32,
    len: u32,
    /// How many entries use it; a number that nobody uses is given out again.
    uses: u8,
}

impl Texts {
    pub(super) fn octets(&self) -> usize {
        self.octets.len()
    }

    pub(super) fn get(&self, number: u8) -> &[u8] {
        let span = self.spans.get(usize::from(number));
        span.map_or(&[], |span| self.text(*span))
    }

    /// All that are used.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let used = self.spans.iter().filter(|span| span.uses > 0);
        used.map(|span| self.text(*span))
    }

    /// One more entry uses a text. It shares the text with any other entry that has it.
    pub(super) fn take(&mut self, text: &[u8]) -> u8 {
        let same = |span: &Span| span.uses > 0 && self.text(*span) == text;
        match self.spans.iter().position(same) {
            Some(number) => self.use_again(narrow(number)),
            None => self.keep(text),
        }
    }

    /// One more entry uses a text. It shares the text only with an entry beside it, if that has it: as
    /// the folders of one user have their ACL, and there are too many to look through.
    pub(super) fn take_beside(&mut self, text: &[u8], neighbours: [Option<u8>; 3]) -> u8 {
        let mut neighbours = neighbours.into_iter().flatten();
        match neighbours.find(|&number| self.get(number) == text) {
            Some(number) => self.use_again(number),
            None => self.keep(text),
        }
    }

    /// One entry less uses it.
    pub(super) fn give_back(&mut self, number: u8) {
        let Some(span) = self.spans.get_mut(usize::from(number)) else {
            return;
        };
        span.uses = span.uses.saturating_sub(1);
        if span.uses > 0 {
            return;
        }
        self.unused += wide(span.len);
        while self.spans.last().is_some_and(|span| span.uses == 0) {
            self.spans.pop();
        }
        if self.unused * 2 > self.octets.len() {
            self.compact();
        }
    }

    pub(super) fn shrink(&mut self) {
        self.octets.shrink_to_fit();
        self.spans.shrink_to_fit();
    }

    fn text(&self, span: Span) -> &[u8] {
        let start = wide(span.at);
        let text = self.octets.get(start..start + wide(span.len));
        text.unwrap_or_default()
    }

    fn use_again(&mut self, number: u8) -> u8 {
        if let Some(span) = self.spans.get_mut(usize::from(number)) {
            span.uses = span.uses.saturating_add(1);
        }
        number
    }

    fn keep(&mut self, text: &[u8]) -> u8 {
        let span = Span {
            at: u32::try_from(self.octets.len()).unwrap_or(u32::MAX),
            len: u32::try_from(text.len()).unwrap_or(u32::MAX),
            uses: 1,
        };
        room(&mut self.octets, text.len());
        self.octets.extend_from_slice(text);
        let free = self.spans.iter().position(|span| span.uses == 0);
        if let Some(place) = free.and_then(|free| self.spans.get_mut(free)) {
            *place = span;
        } else {
            room(&mut self.spans, 1);
            self.spans.push(span);
        }
        narrow(free.unwrap_or(self.spans.len() - 1))
    }

    fn compact(&mut self) {
        let mut octets = Vec::with_capacity(self.octets.len() - self.unused);
        for number in 0..self.spans.len() {
            let Some(&span) = self.spans.get(number) else {
                continue;
            };
            let at = u32::try_from(octets.len()).unwrap_or(u32::MAX);
            if span.uses > 0 {
                octets.extend_from_slice(self.text(span));
            }
            if let Some(span) = self.spans.get_mut(number) {
                span.at = at;
            }
        }
        for span in self.spans.iter_mut().filter(|span| span.uses == 0) {
            span.len = 0;
        }
        self.octets = octets;
        self.unused = 0;
    }
}

/// A leaf has fewer entries than there are numbers.
fn narrow(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

fn wide(octets: u32) -> usize {
    usize::try_from(octets).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_there_once_and_goes_with_its_last_user() {
        let mut texts = Texts::default();
        let (one, other) = (texts.take(b"be1!default"), texts.take(b"be2!default"));
        assert_eq!(texts.take(b"be1!default"), one);
        assert_eq!(
            texts.take_beside(b"be2!default", [None, Some(other), None]),
            other
        );
        let apart = texts.take_beside(b"be2!default", [Some(one), None, None]);
        assert_ne!(apart, other, "nobody looked that far");
        texts.give_back(one);
        assert_eq!(texts.get(one), b"be1!default");
        texts.give_back(one);
        texts.give_back(apart);
        let octets = texts.octets();
        assert!(
            octets <= 22,
            "{octets} of 33, of which 22 are used by nobody"
        );
        assert_eq!(texts.get(other), b"be2!default");
        let again = texts.take(b"x");
        assert_eq!(
            (texts.get(again), texts.get(other)),
            (b"x".as_slice(), b"be2!default".as_slice())
        );
    }
}
