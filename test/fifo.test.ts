import fc from 'fast-check'
import t from 'tap'
import { Fifo } from '../lib/fifo.ts'

t.test('a Fifo returns items in the order of push, like an array', async t => {
  fc.assert(fc.property(fc.array(fc.oneof(fc.nat(), fc.constantFrom('shift', 'clear'))), steps => {
    const fifo = new Fifo<number>()
    const model: number[] = []
    for (const step of steps) {
      if (typeof step === 'number') {
        fifo.push(step)
        model.push(step)
      } else if (step === 'shift') {
        if (fifo.shift() !== model.shift()) return false
      } else if (JSON.stringify(fifo.clear()) !== JSON.stringify(model.splice(0))) {
        return false
      }
      if (fifo.size !== model.length) return false
    }
    return true
  }))
  t.pass('for any sequence of steps')
})

t.test('slice() and first remove no item', async t => {
  const step = fc.oneof(fc.nat(), fc.constant('shift'), fc.tuple(fc.nat({ max: 12 }), fc.nat({ max: 12 })))
  fc.assert(fc.property(fc.array(step), steps => {
    const fifo = new Fifo<number>()
    const model: number[] = []
    for (const step of steps) {
      if (typeof step === 'number') {
        fifo.push(step)
        model.push(step)
      } else if (typeof step === 'string') {
        fifo.shift()
        model.shift()
      } else if (JSON.stringify(fifo.slice(...step)) !== JSON.stringify(model.slice(...step))) {
        return false
      }
      if (fifo.first !== model[0] || fifo.size !== model.length) return false
    }
    return true
  }))
  t.pass('for any sequence of steps')
})
