export const ending = String.raw`import { element, write } from './format.js'

const dialog = document.querySelector('#ending')
const said = document.querySelector('#said')
const form = dialog.querySelector('form')

let id

/** Asks before it does. */
export function askToEnd (row) {
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
  if (dialog.returnValue === 'end') end(id, form.elements.why.value)
})

async function end (id, why) {
  try {
    const response = await fetch('streams/' + id + '/end', {
      method: 'POST',
      // What no page of another site can send: see the guard.
      headers: { 'content-type': 'application/json', 'x-requested-with': 'inspector' },
      body: JSON.stringify({ why })
    })
    const answer = await response.json()
    say(response.ok ? 'Ended ' + answer.route + (answer.key === undefined ? '' : ' of ' + answer.key) + '.' : 'Not ended: ' + answer.message, response.ok)
  } catch (error) {
    say('Not ended, or not known whether it is: ' + error.message, false)
  }
}

let timer

function say (text, good) {
  write(said, text)
  said.dataset.good = String(good)
  clearTimeout(timer)
  timer = setTimeout(() => write(said, ''), 8_000)
}
`
