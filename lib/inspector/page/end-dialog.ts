export const endDialog = String.raw`import { element, write } from './format.js'

const dialog = document.querySelector('#end-dialog')
const notice = document.querySelector('#notice')
const form = dialog.querySelector('form')

let id

/** Opens the dialog that confirms the end of a stream. */
export function confirmEnd (row) {
  id = row.id
  const facts = { Route: row.route, Path: row.route.endsWith(' ' + row.path) ? null : row.path, Key: row.key, Address: row.ip }
  dialog.querySelector('dl').replaceChildren(...Object.entries(facts).filter(([, text]) => text !== null).map(([name, text]) => {
    const fact = element('div')
    fact.append(element('dt', name), element('dd', text))
    return fact
  }))
  dialog.returnValue = ''
  dialog.showModal()
}

form.querySelector('[value=cancel]').addEventListener('click', () => dialog.close())
dialog.addEventListener('close', () => {
  if (dialog.returnValue === 'end') end(id, form.elements.reason.value)
})

async function end (id, reason) {
  try {
    const response = await fetch('streams/' + id + '/end', {
      method: 'POST',
      // A page of another site cannot send this header: see guard.ts.
      headers: { 'content-type': 'application/json', 'x-requested-with': 'inspector' },
      body: JSON.stringify({ reason })
    })
    const answer = await response.json()
    const ended = 'Ended ' + answer.route + (answer.key === undefined ? '' : ', key ' + answer.key) + '.'
    notify(response.ok ? ended : 'Not ended: ' + answer.message, response.ok)
  } catch (error) {
    notify('No answer, so the stream may still be open: ' + error.message, false)
  }
}

let timer

function notify (text, success) {
  write(notice, text)
  notice.dataset.success = String(success)
  clearTimeout(timer)
  timer = setTimeout(() => write(notice, ''), 8_000)
}
`
