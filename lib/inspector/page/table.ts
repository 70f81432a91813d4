export const table = String.raw`import { element, write } from './format.js'

/**
 * A table that keeps the elements of its rows when their content changes, so focus and selection are kept. A column is
 * { name, label, make (cell, row) }: make fills an empty cell and returns a function (row, time) that updates it.
 */
export class Table {
  #body
  #columns
  #compare
  #rows = new Map()

  constructor (table, caption, columns, compare) {
    // The phone layout changes the display of a table, which removes its roles for screen readers.
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
    this.#compare = compare
  }

  get size () { return this.#rows.size }

  update ({ rows, removed }, full, time) {
    const ids = new Set(rows.map(({ id }) => id))
    for (const id of full ? this.#rows.keys() : removed) if (!full || !ids.has(id)) this.#remove(id)
    for (const row of rows) {
      const existing = this.#rows.get(row.id)
      if (existing === undefined) this.#rows.set(row.id, this.#make(row))
      else existing.row = row
    }
    const sorted = [...this.#rows.values()].sort((one, other) => this.#compare(one.row, other.row))
    let next = this.#body.firstElementChild
    for (const { line, row, updates } of sorted) {
      for (const update of updates) update(row, time)
      if (line === next) next = next.nextElementSibling
      else this.#body.insertBefore(line, next)
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
  const child = element(name)
  child.setAttribute('role', role)
  parent.append(child)
  return child
}
`
