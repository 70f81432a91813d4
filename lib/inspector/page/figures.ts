export const figures = String.raw`import { bytes, count, element, rate, write } from './format.js'

// The points of a sparkline: one a second for a minute.
const POINTS = 60
const SVG = 'http://www.w3.org/2000/svg'

const LIMITS = { maxStreams: 'server full', maxStreamsPerKey: 'over the key limit', closing: 'shutting down' }
const REASONS = {
  client: 'the client disconnected',
  complete: 'the source ended',
  'channel-ended': 'the channel ended',
  expired: 'the maximum lifetime was reached',
  shutdown: 'the server shut down',
  revoked: 'permission was withdrawn, or an operator ended it',
  stalled: 'the client read no bytes for too long',
  lagging: 'the client fell behind the history of its channel',
  error: 'the source failed'
}
const TROUBLE = new Set(['stalled', 'lagging', 'error'])

/** A sparkline of a figure. */
class Sparkline {
  #values = []
  #line = document.createElementNS(SVG, 'polyline')

  constructor (parent) {
    const drawing = document.createElementNS(SVG, 'svg')
    drawing.setAttribute('viewBox', '0 0 ' + POINTS + ' 24')
    drawing.setAttribute('preserveAspectRatio', 'none')
    drawing.setAttribute('aria-hidden', 'true')
    drawing.append(this.#line)
    parent.append(drawing)
  }

  add (value) {
    this.#values = [...this.#values, value].slice(-POINTS)
    const most = Math.max(1, ...this.#values)
    const left = POINTS - this.#values.length
    this.#line.setAttribute('points', this.#values.map((value, n) => (left + n) + ',' + (22.5 - value / most * 20).toFixed(1)).join(' '))
  }
}

const figure = name => document.querySelector('[data-figure=' + name + ']')
const sparklines = Object.fromEntries(['open', 'events', 'bytes', 'published'].map(name => [name, new Sparkline(figure(name))]))

function showFigure (name, value, detail, warning = false) {
  const panel = figure(name)
  write(panel.querySelector('b'), value)
  write(panel.querySelector('dd span'), detail)
  panel.toggleAttribute('data-warning', warning)
}

const summary = counts => Object.entries(counts).filter(([, number]) => number > 0).map(([name, number]) => count(number) + ' ' + (LIMITS[name] ?? name)).join(', ')

export function showTotals (totals, first) {
  const { open, stalled, opened, closed, rejected, events, eventRate, bytes: sum, byteRate } = totals
  const { published, publishRate, dropped, gaps, resets, latency } = totals
  showFigure('open', count(open), stalled > 0 ? count(stalled) + ' stalled' : count(opened) + ' opened', stalled > 0)
  showFigure('events', rate(eventRate), count(events) + ' in total')
  showFigure('bytes', bytes(byteRate), bytes(sum) + ' in total')
  showFigure('published', rate(publishRate), count(published) + ' in total')
  const sumRejected = Object.values(rejected).reduce((sum, number) => sum + number, 0)
  showFigure('rejected', count(sumRejected), summary(rejected) || 'none', sumRejected > 0)
  showFigure('dropped', count(dropped), count(gaps) + (gaps === 1 ? ' gap, ' : ' gaps, ') + count(resets) + (resets === 1 ? ' reset' : ' resets'), dropped > 0)
  // The rates of the first report are not over one second.
  if (!first) {
    const values = { open, events: eventRate, bytes: byteRate, published: publishRate }
    for (const [name, value] of Object.entries(values)) sparklines[name].add(value)
  }
  showClosed(closed)
  showLatency(latency)
}

function showClosed (closed) {
  const list = document.querySelector('#closed')
  const sum = Object.values(closed).reduce((sum, number) => sum + number, 0)
  write(document.querySelector('#closed-count'), count(sum) + (sum === 1 ? ' stream' : ' streams'))
  if (list.childElementCount === 0) {
    for (const [reason, meaning] of Object.entries(REASONS)) {
      const row = element('div')
      row.dataset.reason = reason
      row.append(element('dt', reason, { title: meaning }), element('dd', '0'), element('i'))
      list.append(row)
    }
  }
  for (const row of list.children) {
    const number = closed[row.dataset.reason] ?? 0
    write(row.querySelector('dd'), count(number))
    row.querySelector('i').style.setProperty('--share', String(sum === 0 ? 0 : number / sum))
    row.toggleAttribute('data-none', number === 0)
    row.toggleAttribute('data-warning', number > 0 && TROUBLE.has(row.dataset.reason))
  }
}

function showLatency ({ bounds, counts }) {
  const list = document.querySelector('#latency')
  const sum = counts.reduce((sum, number) => sum + number, 0)
  const most = Math.max(1, ...counts)
  if (list.childElementCount === 0) {
    for (const n of counts.keys()) {
      const bar = element('li')
      const label = n < bounds.length ? '≤ ' + bound(bounds[n]) : '> ' + bound(bounds.at(-1))
      bar.append(element('i'), element('span', label), element('b'))
      list.append(bar)
    }
  }
  for (const [n, bar] of [...list.children].entries()) {
    bar.querySelector('i').style.setProperty('--share', String(counts[n] / most))
    write(bar.querySelector('b'), count(counts[n]))
    bar.title = bar.querySelector('span').textContent + (n < 12 ? ' ms: ' : ': ') + count(counts[n])
    bar.toggleAttribute('data-none', counts[n] === 0)
  }
  const within = share => {
    let left = sum * share
    const bucket = counts.findIndex(number => (left -= number) <= 0)
    return bucket < bounds.length ? 'within ' + duration(bounds[bucket]) : 'slower than ' + duration(bounds.at(-1))
  }
  write(document.querySelector('#latency-summary'), sum === 0 ? 'no deliveries yet' : 'half ' + within(0.5) + ', 99 % ' + within(0.99))
}

const bound = number => number < 1_000 ? String(number) : number / 1_000 + ' s'
const duration = number => number < 1_000 ? number + ' ms' : bound(number)
`
