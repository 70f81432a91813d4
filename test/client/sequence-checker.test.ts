import t from 'tap'
import { SequenceChecker } from '../../lib/client/sequence-checker.ts'

t.test('R1: an event is next, a duplicate, or after missing events, by the offsets in its id', async t => {
  const cases: Array<
    [known: string | undefined, id: string, verdict: ReturnType<SequenceChecker['check']>, title: string]
  > = [
    ['a-5', 'a-6', 'next', 'one more'],
    ['a-5', 'a-5', 'duplicate', 'the same'],
    ['a-5', 'a-3', 'duplicate', 'an earlier one'],
    ['a-5', 'a-7', 'missing', 'one is left out'],
    ['a-9', 'a-10', 'next', 'they are numbers, not texts'],
    ['a-9007199254740990', 'a-9007199254740991', 'next', 'as far as numbers are whole'],
    [undefined, 'a-5', 'next', 'where nothing is known, anything is next'],
    ['a-5', 'b-90', 'next', 'of another epoch nothing is known'],

    ['a-5.b-7', 'a-6.b-7', 'next', 'of two channels one goes on'],
    ['a-5.b-7', 'a-5.b-8', 'next', 'or the other'],
    ['a-5.b-7', 'b-8.a-5', 'next', 'in whichever order they stand'],
    ['a-5.b-7', 'a-5.b-7', 'duplicate', 'none of them goes on'],
    ['a-5.b-7', 'a-4.b-7', 'duplicate', 'one of them stands further back'],
    ['a-5.b-7', 'a-5.b-9', 'missing', 'one is left out in the second'],
    ['a-5.b-7', 'a-6.b-8', 'missing', 'one event moves one channel: the event of the other is missing'],
    ['a-5.b-7', 'a-5.c-80', 'next', 'one of them begins anew'],
    ['a-5.b-7', 'c-80.a-5', 'next', 'in whichever order they stand'],
    ['a-5', 'a-5.b-7', 'next', 'another channel has come'],

    ['a-5', 'thing', 'next', 'no position at all'],
    ['a-5', '', 'next', 'no id'],
    ['a-5', 'a-five', 'next', 'no number'],
    ['thing', 'a-5', 'next', 'after what was no position, anything is next']
  ]
  for (const [known, id, verdict, title] of cases) {
    const place = new SequenceChecker()
    if (known !== undefined) place.move(known)
    t.equal(place.check(id), verdict, `${known} -> ${id}: ${title}`)
  }
})

t.test('R1: a check does not move the position: a rejected event can be sent again', async t => {
  const place = new SequenceChecker()
  place.move('a-1')
  t.equal(place.check('a-2'), 'next')
  t.equal(place.check('a-2'), 'next')
  place.move('a-2')
  t.equal(place.check('a-2'), 'duplicate')
})

t.test('R3: after a reset any id is next', async t => {
  const place = new SequenceChecker()
  place.move('a-5')
  place.forget()
  t.equal(place.check('a-900'), 'next')
})
