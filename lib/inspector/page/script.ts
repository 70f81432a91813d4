export const script = String.raw`import { askToEnd } from './ending.js'
import { showTotals } from './figures.js'
import { age, bytes, count, element, rate, write } from './format.js'
import { Table, text } from './table.js'
import { follow, onChoice } from './tail.js'

const state = document.querySelector('#state')
const again = document.querySelector('#again')
const filter = document.querySelector('#filter')

const routes = {
  name: 'route',
  label: 'Route',
  make: cell => {
    const [name, path] = [element('b'), element('span')]
    cell.append(name, ' ', path)
    return ({ route, path: asked, channels }) => {
      write(name, route)
      // What the route leaves open, or does not say.
      const more = [route.endsWith(' ' + asked) ? '' : asked, channels].filter(text => text !== '').join(' · ')
      write(path, more)
      cell.title = route + (more === '' ? '' : ' — ' + more)
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
    button.setAttribute('aria-label', 'End stream ' + row.id + ': ' + row.route + (row.key === null ? '' : ' of ' + row.key))
    button.addEventListener('click', () => askToEnd(row))
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
  text('number', 'per s', ({ eventRate }) => rate(eventRate)),
  text('number', 'Bytes', ({ bytes: sum }) => bytes(sum)),
  text('number', 'B per s', ({ byteRate }) => bytes(byteRate)),
  text('number lag', 'Lag', ({ lag }) => count(lag)),
  states,
  buttons
], (one, other) => other.stalled - one.stalled || (other.lag > 0) - (one.lag > 0) || one.since - other.since || one.id - other.id)

const channels = new Table(document.querySelector('#channels'), 'Channels', [
  {
    name: 'route',
    label: 'Channel',
    make: (cell, { id }) => {
      const button = element('button', id, { type: 'button', title: 'Read ' + id })
      button.addEventListener('click', () => follow(id))
      cell.append(button)
      return () => {}
    }
  },
  text('number', 'Subscribers', ({ subscribers }) => count(subscribers)),
  text('number lag', 'Lagging', ({ lagging }) => count(lagging)),
  text('number newest', 'Newest', ({ newest }) => count(newest)),
  text('number', 'per s', ({ rate: events }) => rate(events))
], (one, other) => (other.lagging > 0) - (one.lagging > 0) || other.subscribers - one.subscribers || (one.id < other.id ? -1 : 1))

onChoice(channel => channels.each((line, { id }) => line.toggleAttribute('data-chosen', id === channel)))

function summarise (name, { all, matching }, { size }, order) {
  const most = size < matching ? 'the first ' + count(size) + ' of ' : ''
  const passed = filter.value === '' ? count(all) : count(matching) + ' that match, of ' + count(all)
  write(document.querySelector('#' + name + '-count'), most + passed + (most === '' ? '' : ': ' + order))
  const empty = document.querySelector('#' + name + '-empty')
  empty.hidden = size > 0
  write(empty, all === 0 ? 'None.' : 'None that match.')
}

function show (report) {
  const { whole, at, totals } = report
  showTotals(totals, whole)
  streams.report(report.streams, whole, at)
  channels.report(report.channels, whole, at)
  summarise('streams', report.streams, streams, 'those that are stalled, then the furthest behind, then the oldest')
  summarise('channels', report.channels, channels, 'those with lagging subscribers, then the busiest')
}

function tell (name, text) {
  write(state, text)
  state.dataset.state = name
  again.hidden = name !== 'closed'
}

let source

function watch () {
  source?.close()
  const opened = source = new EventSource('events?filter=' + encodeURIComponent(filter.value))
  opened.addEventListener('open', () => tell('open', 'Live'))
  opened.addEventListener('report', ({ data }) => show(JSON.parse(data)))
  opened.addEventListener('error', ({ data }) => {
    if (data !== undefined) {
      // The stream's own last word.
      opened.close()
      tell('closed', JSON.parse(data).detail ?? 'The stream failed')
    } else if (opened.readyState === EventSource.CLOSED) tell('closed', 'Not permitted, or no server')
    else tell('connecting', 'Connecting again')
  })
}

let pause
filter.addEventListener('input', () => {
  clearTimeout(pause)
  pause = setTimeout(watch, 200)
})
again.addEventListener('click', watch)
watch()
`
