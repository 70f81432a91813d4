export const format = String.raw`// Figures as people read them.

const whole = new Intl.NumberFormat('en')
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })

export const count = number => whole.format(Math.round(number))

/** What changes too fast for its last digits to be read. */
export const rate = number => number === 0 ? '0' : number < 10 ? number.toFixed(1) : number < 10_000 ? count(number) : short.format(number)

export function bytes (number) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let unit = 0
  while (number >= 1_000 && unit < units.length - 1) {
    number /= 1_000
    unit++
  }
  return (unit === 0 || number >= 100 ? Math.round(number) : number.toFixed(1)) + ' ' + units[unit]
}

/** The two units that matter. */
export function age (time) {
  const seconds = Math.max(0, Math.floor(time / 1_000))
  const parts = [[Math.floor(seconds / 86_400), 'd'], [Math.floor(seconds / 3_600) % 24, 'h'], [Math.floor(seconds / 60) % 60, 'm'], [seconds % 60, 's']]
  const first = Math.min(parts.length - 1, parts.findIndex(([number]) => number > 0) >>> 0)
  return parts.slice(first, first + 2).map(([number, unit]) => number + ' ' + unit).join(' ')
}

/** An element with a text: what comes from elsewhere is text, and never markup. */
export function element (name, text = '', properties = {}) {
  const made = Object.assign(document.createElement(name), properties)
  made.textContent = text
  return made
}

/** Writes a text where it is another one. */
export function write (node, text) {
  if (node.textContent !== text) node.textContent = text
}
`
