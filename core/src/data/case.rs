//! Upper and lower case: one character for one character, the same on every peer.
//!
//! Rows are computed by whichever peer owns them, so the mapping may depend neither on a locale nor on the version of
//! Unicode that a compiler came with. It covers the letters of the scripts in use that have cases (Latin, Greek,
//! Cyrillic, Armenian, Georgian); other characters stay as they are, and so does what has no single counterpart (ß).
//! The standard library's tables know more and take 10 kB of a page's download.

/// Capital letters whose small letters are equally far away: first and last one, distance of neighbours, way to the
/// small letter.
const CAPITALS: &[(u16, u16, u8, i16)] = &[
    // Latin
    (0x41, 0x5a, 1, 32),
    (0xc0, 0xd6, 1, 32),
    (0xd8, 0xde, 1, 32),
    (0x100, 0x12e, 2, 1),
    (0x132, 0x136, 2, 1),
    (0x139, 0x147, 2, 1),
    (0x14a, 0x176, 2, 1),
    (0x178, 0x178, 1, -121),
    (0x179, 0x17d, 2, 1),
    (0x181, 0x181, 1, 210),
    (0x186, 0x186, 1, 206),
    (0x189, 0x18a, 1, 205),
    (0x18e, 0x18e, 1, 79),
    (0x18f, 0x18f, 1, 202),
    (0x190, 0x190, 1, 203),
    (0x198, 0x198, 1, 1),
    (0x19d, 0x19d, 1, 213),
    (0x1a0, 0x1a4, 2, 1),
    (0x1af, 0x1af, 1, 1),
    (0x1b3, 0x1b5, 2, 1),
    (0x1cd, 0x1db, 2, 1),
    (0x1de, 0x1ee, 2, 1),
    (0x1f8, 0x21e, 2, 1),
    (0x222, 0x232, 2, 1),
    (0x1e00, 0x1e94, 2, 1),
    (0x1ea0, 0x1efe, 2, 1),
    // Greek
    (0x386, 0x386, 1, 38),
    (0x388, 0x38a, 1, 37),
    (0x38c, 0x38c, 1, 64),
    (0x38e, 0x38f, 1, 63),
    (0x391, 0x3a1, 1, 32),
    (0x3a3, 0x3ab, 1, 32),
    (0x1f08, 0x1f0f, 1, -8),
    (0x1f18, 0x1f1d, 1, -8),
    (0x1f28, 0x1f2f, 1, -8),
    (0x1f38, 0x1f3f, 1, -8),
    (0x1f48, 0x1f4d, 1, -8),
    (0x1f59, 0x1f5f, 2, -8),
    (0x1f68, 0x1f6f, 1, -8),
    // Cyrillic
    (0x400, 0x40f, 1, 80),
    (0x410, 0x42f, 1, 32),
    (0x460, 0x480, 2, 1),
    (0x48a, 0x4be, 2, 1),
    (0x4c0, 0x4c0, 1, 15),
    (0x4c1, 0x4cd, 2, 1),
    (0x4d0, 0x52e, 2, 1),
    // Armenian and Georgian
    (0x531, 0x556, 1, 48),
    (0x1c90, 0x1cba, 1, -3008),
    (0x1cbd, 0x1cbf, 1, -3008),
    // Fullwidth forms
    (0xff21, 0xff3a, 1, 32),
];

/// The small letter of a capital one.
pub fn lower(letter: char) -> char {
    counterpart(letter, false)
}

/// The capital letter of a small one.
pub fn upper(letter: char) -> char {
    counterpart(letter, true)
}

fn counterpart(letter: char, small: bool) -> char {
    let code = letter as i32;
    for (first, last, step, way) in CAPITALS {
        let way = i32::from(*way);
        let (from, to) = if small { (way, -way) } else { (0, way) };
        let place = code - from - i32::from(*first);
        if place >= 0 && place <= i32::from(last - first) && place % i32::from(*step) == 0 {
            return u32::try_from(code + to).ok().and_then(char::from_u32).unwrap_or(letter);
        }
    }
    letter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(mut letters: impl Iterator<Item = char>) -> Option<char> {
        letters.next().filter(|_| letters.next().is_none())
    }

    #[test]
    fn pairs_are_those_of_unicode() {
        let mut pairs = 0;
        for letter in '\0'..=char::MAX {
            let (small, capital) = (lower(letter), upper(letter));
            if small != letter {
                pairs += 1;
                assert_eq!((alone(letter.to_lowercase()), upper(small)), (Some(small), letter), "{letter}");
            }
            if capital != letter {
                assert_eq!((alone(letter.to_uppercase()), lower(capital)), (Some(capital), letter), "{letter}");
            }
        }
        let entries = CAPITALS.iter().map(|(first, last, step, _)| (last - first) / u16::from(*step) + 1);
        assert_eq!(pairs, entries.sum::<u16>());
    }

    #[test]
    fn the_alphabets_of_languages_in_use_are_whole() {
        for alphabet in [
            "abcdefghijklmnopqrstuvwxyz",
            "äöüåæøéèêëçñãõíóúýþðœčďěňřšťůžąćęłńśźżăâîșțğışđħċġżāēīūģķļņőűŵŷŋŧə",
            "ạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộơớờởỡợụủưứừửữựỳỵỷỹ",
            "αβγδεζηθικλμνξοπρστυφχψωάέήίόύώϊϋ",
            "абвгдежзийклмнопрстуфхцчшщъыьэюяёђѓєѕіїјљњћќўџґқңүұһөә",
            "աբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆ",
        ] {
            for letter in alphabet.chars().filter(|letter| *letter != 'ı') {
                assert_eq!(Some(upper(letter)), alone(letter.to_uppercase()), "{letter}");
            }
        }
        assert_eq!((upper('ß'), lower('İ'), upper('ı'), lower('東')), ('ß', 'İ', 'ı', '東'));
    }
}
