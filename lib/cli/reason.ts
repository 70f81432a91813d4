/** Why something failed, in the words of what failed first: `fetch failed` says less than its cause. */
export function reasonOf (error: unknown): string {
  let [first, last] = ['', '']
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    // Where several addresses were tried, the one error has many in it, and no text.
    const text = cause.message.trim() === '' ? String((cause as NodeJS.ErrnoException).code ?? cause.name) : cause.message.trim()
    first ||= text
    last = text
  }
  return first === last || first.endsWith(last) ? first : `${first.replace(/: (fetch failed|terminated)$/, '')}: ${last}`
}
