export const tail = String.raw`import { count, element, write } from './format.js'

// The most events in the list.
const MAX_ITEMS = 200

const list = document.querySelector('#tail')
const title = document.querySelector('#tail-title')
const state = document.querySelector('#tail-state')
const stop = document.querySelector('#tail-stop')
const empty = document.querySelector('#tail-empty')

let source
let onChange = () => {}

/** Sets the listener that is called with the channel whose tail is open, or with undefined. */
export function onTailChange (listener) { onChange = listener }

export function openTail (channel) {
  source?.close()
  title.replaceChildren('Tail of ', element('code', channel))
  list.replaceChildren()
  write(empty, 'No events yet.')
  empty.hidden = false
  stop.hidden = false
  write(state, 'connecting')
  source = new EventSource('tail?channel=' + encodeURIComponent(channel))
  source.addEventListener('open', () => {
    // After a reconnect, the last events are sent again.
    list.replaceChildren()
    write(state, 'live')
  })
  source.addEventListener('event', ({ data }) => show(JSON.parse(data)))
  source.addEventListener('ended', () => finish('the channel has ended'))
  source.addEventListener('error', event => {
    if (event.data !== undefined) finish(JSON.parse(event.data).detail ?? 'failed')
    else if (event.target.readyState === EventSource.CLOSED) finish('no such channel, or not permitted')
    else write(state, 'reconnecting')
  })
  onChange(channel)
}

function finish (text) {
  source.close()
  stop.hidden = true
  write(state, text)
  onChange(undefined)
}

stop.addEventListener('click', () => finish('stopped'))

function show ({ event, id, data, size, json, skipped }) {
  empty.hidden = true
  if (skipped > 0) list.prepend(element('li', count(skipped) + ' events skipped: too many per second', { className: 'note' }))
  const item = element('li')
  item.append(element('b', event), element('code', id, { title: 'id' }), element('time', new Date().toLocaleTimeString('en', { hourCycle: 'h23' })), element('pre', pretty(data, json, size)))
  if (size > data.length) item.append(element('span', count(size - data.length) + ' more characters', { className: 'note' }))
  list.prepend(item)
  while (list.childElementCount > MAX_ITEMS) list.lastElementChild.remove()
}

/** Formats large JSON on several lines, short JSON on one. */
function pretty (data, json, size) {
  if (!json || size > data.length || data.length < 100) return data
  return JSON.stringify(JSON.parse(data), null, 2)
}
`
