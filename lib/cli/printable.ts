// Controls (C0, DEL, C1), what turns the direction of a text, separators of lines, and halves of characters.
const UNSAFE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

/**
 * A text that cannot control a terminal. What somebody else wrote may hold its commands: to move about, to write over what stands there,
 * to answer in the user's name. The form is that of JSON, so that JSON stays what it was.
 */
export function printable (text: string): string {
  return text.replace(UNSAFE, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
