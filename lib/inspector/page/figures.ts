export const figures = String.raw`import { bytes, count, element, rate, write } from './format.js'

// The last minute of a figure.
const KEPT = 60
const SVG = 'http://www.w3.org/2000/svg'

const WORDS = { maxStreams: 'server full', maxStreamsPerKey: 'client full', closing: 'closing' }
const REASONS = {
  client: 'the client left',
  complete: 'the source is done',
  'channel-ended': 'its channel ended',
  expired: 'its lifetime was over',
  shutdown: 'the server closed',
  revoked: 'no longer permitted',
  stalled: 'took no byte for too long',
  lagging: 'fell behind the history',
  error: 'the source failed'
}
const TROUBLE = new Set(['stalled', 'lagging', 'error'])

/** The course of a figure, as a line. */
class Course {
  #values = []
  #line = document.createElementNS(SVG, 'polyline')

  constructor (parent) {
    const drawing = document.createElementNS(SVG, 'svg')
    drawing.setAttribute('viewBox', '0 0 ' + KEPT + ' 24')
    drawing.setAttribute('preserveAspectRatio', 'none')
    drawing.setAttribute('aria-hidden', 'true')
    drawing.append(this.#line)
    parent.append(drawing)
  }

  add (value) {
    this.#values = [...this.#values, value].slice(-KEPT)
    const most = Math.max(1, ...this.#values)
    const left = KEPT - this.#values.length
    this.#line.setAttribute('points', this.#values.map((value, n) => (left + n) + ',' + (22.5 - value / most * 20).toFixed(1)).join(' '))
  }
}

const figure = name => document.querySelector('[data-figure=' + name + ']')
const courses = Object.fromEntries(['open', 'events', 'bytes', 'published'].map(name => [name, new Course(figure(name))]))

function put (name, value, more, alarming = false) {
  const place = figure(name)
  write(place.querySelector('b'), value)
  write(place.querySelector('dd span'), more)
  place.toggleAttribute('data-alarming', alarming)
}

const inWords = counts => Object.entries(counts).filter(([, number]) => number > 0).map(([name, number]) => count(number) + ' ' + (WORDS[name] ?? name)).join(', ')

export function showTotals (totals, first) {
  const { open, stalled, opened, events, eventRate, bytes: sum, byteRate, published, publishRate, dropped, gaps, resets, closed, rejected, latency } = totals
  put('open', count(open), stalled > 0 ? count(stalled) + ' stalled' : count(opened) + ' so far', stalled > 0)
  put('events', rate(eventRate), count(events) + ' so far')
  put('bytes', bytes(byteRate), bytes(sum) + ' so far')
  put('published', rate(publishRate), count(published) + ' so far')
  const refused = Object.values(rejected).reduce((sum, number) => sum + number, 0)
  put('rejected', count(refused), inWords(rejected) || 'no request', refused > 0)
  put('dropped', count(dropped), count(gaps) + (gaps === 1 ? ' gap, ' : ' gaps, ') + count(resets) + (resets === 1 ? ' reset' : ' resets'), dropped > 0)
  // The first figures have no second behind them.
  if (!first) for (const [name, value] of Object.entries({ open, events: eventRate, bytes: byteRate, published: publishRate })) courses[name].add(value)
  showClosed(closed)
  showLatency(latency)
}

function showClosed (closed) {
  const place = document.querySelector('#closed')
  const sum = Object.values(closed).reduce((sum, number) => sum + number, 0)
  write(document.querySelector('#closed-count'), count(sum) + (sum === 1 ? ' stream' : ' streams'))
  if (place.childElementCount === 0) {
    for (const [reason, meaning] of Object.entries(REASONS)) {
      const row = element('div')
      row.dataset.reason = reason
      row.append(element('dt', reason, { title: meaning }), element('dd', '0'), element('i'))
      place.append(row)
    }
  }
  for (const row of place.children) {
    const number = closed[row.dataset.reason] ?? 0
    write(row.querySelector('dd'), count(number))
    row.querySelector('i').style.setProperty('--share', String(sum === 0 ? 0 : number / sum))
    row.toggleAttribute('data-none', number === 0)
    row.toggleAttribute('data-alarming', number > 0 && TROUBLE.has(row.dataset.reason))
  }
}

function showLatency ({ bounds, counts }) {
  const place = document.querySelector('#latency')
  const sum = counts.reduce((sum, number) => sum + number, 0)
  const most = Math.max(1, ...counts)
  if (place.childElementCount === 0) {
    for (const n of counts.keys()) {
      const bar = element('li')
      const label = n < bounds.length ? '≤ ' + bound(bounds[n]) : '> ' + bound(bounds.at(-1))
      bar.append(element('i'), element('span', label), element('b'))
      place.append(bar)
    }
  }
  for (const [n, bar] of [...place.children].entries()) {
    bar.querySelector('i').style.setProperty('--share', String(counts[n] / most))
    write(bar.querySelector('b'), count(counts[n]))
    bar.title = bar.querySelector('span').textContent + (n < 12 ? ' ms: ' : ': ') + count(counts[n])
    bar.toggleAttribute('data-none', counts[n] === 0)
  }
  const within = share => {
    let left = sum * share
    const place = counts.findIndex(number => (left -= number) <= 0)
    return place < bounds.length ? 'within ' + inTime(bounds[place]) : 'slower than ' + inTime(bounds.at(-1))
  }
  write(document.querySelector('#latency-summary'), sum === 0 ? 'nothing so far' : 'half ' + within(0.5) + ', 99 % ' + within(0.99))
}

const bound = number => number < 1_000 ? String(number) : number / 1_000 + ' s'
const inTime = number => number < 1_000 ? number + ' ms' : bound(number)
`
