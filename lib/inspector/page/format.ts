export const format = String.raw`// Formats figures for people.

const whole = new Intl.NumberFormat('en')
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })

export const count = number => whole.format(Math.round(number))

/** A rate, without digits that change too fast to be read. */
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

/** The time in its two largest units. */
export function age (time) {
  const seconds = Math.max(0, Math.floor(time / 1_000))
  const parts = [[Math.floor(seconds / 86_400), 'd'], [Math.floor(seconds / 3_600) % 24, 'h'], [Math.floor(seconds / 60) % 60, 'm'], [seconds % 60, 's']]
  const first = Math.min(parts.length - 1, parts.findIndex(([number]) => number > 0) >>> 0)
  return parts.slice(first, first + 2).map(([number, unit]) => number + ' ' + unit).join(' ')
}

/** Returns an element with a text. Text that clients chose never becomes markup. */
export function element (name, text = '', properties = {}) {
  const created = Object.assign(document.createElement(name), properties)
  created.textContent = text
  return created
}

/** Sets the text of a node if it differs. */
export function write (node, text) {
  if (node.textContent !== text) node.textContent = text
}
`
