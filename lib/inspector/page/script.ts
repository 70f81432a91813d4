export const script = String.raw`import { confirmEnd } from './end-dialog.js'
import { showTotals } from './figures.js'
import { age, bytes, count, element, rate, write } from './format.js'
import { Table, text } from './table.js'
import { onTailChange, openTail } from './tail.js'

const state = document.querySelector('#state')
const reconnect = document.querySelector('#reconnect')
const filter = document.querySelector('#filter')

const routes = {
  name: 'route',
  label: 'Route',
  make: cell => {
    const [name, path] = [element('b'), element('span')]
    cell.append(name, ' ', path)
    return ({ route, path: requested, channels }) => {
      write(name, route)
      // The path if the route has parameters, and the channels.
      const details = [route.endsWith(' ' + requested) ? '' : requested, channels].filter(text => text !== '').join(' · ')
      write(path, details)
      cell.title = route + (details === '' ? '' : ' — ' + details)
    }
  }
}

const states = {
  name: 'state',
  label: 'State',
  make: cell => {
    const mark = element('span')
    cell.append(mark)
    return ({ stalled, lag }) => {
      const word = stalled ? 'stalled' : lag > 0 ? 'lagging' : 'live'
      write(mark, word)
      mark.className = 'mark ' + word
    }
  }
}

const buttons = {
  name: 'act',
  label: 'Action',
  make: (cell, row) => {
    const button = element('button', 'End', { type: 'button' })
    button.setAttribute('aria-label', 'End stream ' + row.id + ': ' + row.route + (row.key === null ? '' : ', key ' + row.key))
    button.addEventListener('click', () => confirmEnd(row))
    cell.append(button)
    return () => {}
  }
}

const streams = new Table(document.querySelector('#streams'), 'Open streams', [
  routes,
  text('key', 'Key', ({ key }) => key ?? '–'),
  text('ip', 'Address', ({ ip }) => ip ?? '–'),
  text('age', 'Age', ({ since }, time) => age(time - since)),
  text('number', 'Events', ({ events }) => count(events)),
  text('number', 'Events/s', ({ eventRate }) => rate(eventRate)),
  text('number', 'Bytes', ({ bytes: sum }) => bytes(sum)),
  text('number', 'Bytes/s', ({ byteRate }) => bytes(byteRate)),
  text('number lag', 'Lag', ({ lag }) => count(lag)),
  states,
  buttons
], (one, other) => other.stalled - one.stalled || (other.lag > 0) - (one.lag > 0) ||
  one.since - other.since || one.id - other.id)

const channels = new Table(document.querySelector('#channels'), 'Channels', [
  {
    name: 'route',
    label: 'Channel',
    make: (cell, { id }) => {
      const button = element('button', id, { type: 'button', title: 'Show the tail of ' + id })
      button.addEventListener('click', () => openTail(id))
      cell.append(button)
      return () => {}
    }
  },
  text('number', 'Subscribers', ({ subscribers }) => count(subscribers)),
  text('number lag', 'Lagging', ({ lagging }) => count(lagging)),
  text('number newest', 'Newest', ({ newest }) => count(newest)),
  text('number', 'Events/s', ({ rate: events }) => rate(events))
], (one, other) => (other.lagging > 0) - (one.lagging > 0) || other.subscribers - one.subscribers ||
  (one.id < other.id ? -1 : 1))

onTailChange(channel => channels.each((line, { id }) => line.toggleAttribute('data-selected', id === channel)))

function summarize (name, { total, matching }, { size }, order) {
  const first = size < matching ? 'the first ' + count(size) + ' of ' : ''
  const counts = filter.value === '' ? count(total) : count(matching) + ' matching, ' + count(total) + ' in total'
  write(document.querySelector('#' + name + '-count'), first + counts + (first === '' ? '' : ': ' + order))
  const empty = document.querySelector('#' + name + '-empty')
  empty.hidden = size > 0
  write(empty, total === 0 ? 'No ' + name + '.' : 'No matching ' + name + '.')
}

function show (report) {
  const { full, at, totals } = report
  showTotals(totals, full)
  streams.update(report.streams, full, at)
  channels.update(report.channels, full, at)
  summarize('streams', report.streams, streams, 'stalled first, then by lag and age')
  summarize('channels', report.channels, channels, 'lagging first, then by rate')
}

function showState (name, text) {
  write(state, text)
  state.dataset.state = name
  reconnect.hidden = name !== 'closed'
}

let source

function subscribe () {
  source?.close()
  const opened = source = new EventSource('events?filter=' + encodeURIComponent(filter.value))
  opened.addEventListener('open', () => showState('open', 'Live'))
  opened.addEventListener('report', ({ data }) => show(JSON.parse(data)))
  opened.addEventListener('error', ({ data }) => {
    if (data !== undefined) {
      // The error event of the stream, which is its last.
      opened.close()
      showState('closed', JSON.parse(data).detail ?? 'The stream failed')
    } else if (opened.readyState === EventSource.CLOSED) showState('closed', 'Not permitted, or the server is down')
    else showState('connecting', 'Reconnecting')
  })
}

let debounce
filter.addEventListener('input', () => {
  clearTimeout(debounce)
  debounce = setTimeout(subscribe, 200)
})
reconnect.addEventListener('click', subscribe)
subscribe()
`
