export const tail = String.raw`import { count, element, write } from './format.js'

// As many as one scrolls through.
const KEPT = 200

const list = document.querySelector('#tail')
const title = document.querySelector('#tail-title')
const state = document.querySelector('#tail-state')
const stop = document.querySelector('#tail-stop')
const empty = document.querySelector('#tail-empty')

let source
let told = () => {}

/** Who wants to know which channel is read. */
export function onChoice (listener) { told = listener }

export function follow (channel) {
  source?.close()
  title.replaceChildren('Tail of ', element('code', channel))
  list.replaceChildren()
  write(empty, 'Nothing as yet.')
  empty.hidden = false
  stop.hidden = false
  write(state, 'connecting')
  source = new EventSource('tail?channel=' + encodeURIComponent(channel))
  source.addEventListener('open', () => {
    // What comes begins with the last events once more.
    list.replaceChildren()
    write(state, 'live')
  })
  source.addEventListener('event', ({ data }) => show(JSON.parse(data)))
  source.addEventListener('over', () => finish('the channel has ended'))
  source.addEventListener('error', event => {
    if (event.data !== undefined) finish(JSON.parse(event.data).detail ?? 'failed')
    else if (event.target.readyState === EventSource.CLOSED) finish('gone, or not permitted')
    else write(state, 'connecting again')
  })
  told(channel)
}

function finish (text) {
  source.close()
  stop.hidden = true
  write(state, text)
  told(undefined)
}

stop.addEventListener('click', () => finish('stopped'))

function show ({ event, id, data, size, json, skipped }) {
  empty.hidden = true
  if (skipped > 0) list.prepend(element('li', count(skipped) + ' more, too many to read', { className: 'note' }))
  const item = element('li')
  item.append(element('b', event), element('code', id, { title: 'id' }), element('time', new Date().toLocaleTimeString('en', { hourCycle: 'h23' })), element('pre', pretty(data, json, size)))
  if (size > data.length) item.append(element('span', count(size - data.length) + ' characters more', { className: 'note' }))
  list.prepend(item)
  while (list.childElementCount > KEPT) list.lastElementChild.remove()
}

/** A large object is read in lines, a small one in one. */
function pretty (data, json, size) {
  if (!json || size > data.length || data.length < 100) return data
  return JSON.stringify(JSON.parse(data), null, 2)
}
`
