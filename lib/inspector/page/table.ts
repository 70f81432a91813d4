export const table = String.raw`import { element, write } from './format.js'

/**
 * A table whose rows stay the same elements while what they show changes: focus and selection stay where they are. A column is
 * { name, label, make (cell, row) }, where make fills an empty cell and returns what updates it, given the row and the time.
 */
export class Table {
  #body
  #columns
  #before
  #rows = new Map()

  constructor (table, caption, columns, before) {
    // What the layout of a phone takes from a table, for those who do not see it.
    table.setAttribute('role', 'table')
    table.append(element('caption', caption))
    const head = part(table, 'thead', 'rowgroup')
    const row = part(head, 'tr', 'row')
    for (const { name, label } of columns) {
      const cell = part(row, 'th', 'columnheader')
      cell.scope = 'col'
      cell.className = name
      cell.append(element('span', label))
    }
    this.#body = part(table, 'tbody', 'rowgroup')
    this.#columns = columns
    this.#before = before
  }

  get size () { return this.#rows.size }

  report ({ rows, gone }, whole, time) {
    const ids = new Set(rows.map(({ id }) => id))
    for (const id of whole ? this.#rows.keys() : gone) if (!whole || !ids.has(id)) this.#remove(id)
    for (const row of rows) {
      const known = this.#rows.get(row.id)
      if (known === undefined) this.#rows.set(row.id, this.#make(row))
      else known.row = row
    }
    const sorted = [...this.#rows.values()].sort((one, other) => this.#before(one.row, other.row))
    let place = this.#body.firstElementChild
    for (const { line, row, updates } of sorted) {
      for (const update of updates) update(row, time)
      if (line === place) place = place.nextElementSibling
      else this.#body.insertBefore(line, place)
    }
  }

  each (visit) {
    for (const { line, row } of this.#rows.values()) visit(line, row)
  }

  #make (row) {
    const line = element('tr')
    line.setAttribute('role', 'row')
    const updates = this.#columns.map(({ name, label, make }) => {
      const cell = part(line, 'td', 'cell')
      cell.className = name
      cell.dataset.label = label
      return make(cell, row)
    })
    return { line, row, updates }
  }

  #remove (id) {
    this.#rows.get(id)?.line.remove()
    this.#rows.delete(id)
  }
}

/** A column of text. */
export const text = (name, label, show) => ({ name, label, make: cell => (row, time) => write(cell, show(row, time)) })

function part (parent, name, role) {
  const made = element(name)
  made.setAttribute('role', role)
  parent.append(made)
  return made
}
`
