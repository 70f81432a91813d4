import { createElement, StrictMode, useState, type ReactElement } from 'react'
import { renderToString } from 'react-dom/server'
import t from 'tap'
import { useStream } from '../../lib/client/react.ts'
import { Scripted, streams } from '../setup/scripted.ts'

// The hook without its effects, as a server renders it. test/scenario/react.test.ts mounts it in browsers.

const turn = (): Promise<void> => new Promise(resolve => { setImmediate(resolve) })

t.test('a server renders the initial state, and opens nothing', async t => {
  const server = await Scripted.start(t, streams('data: 1\n\n'))
  const Count = (): ReactElement => {
    const { state, status, error } = useStream(server.url, {
      reduce: (state: number) => state + 1,
      initialState: 7
    })
    return createElement('p', null, `${state} ${status} ${String(error)}`)
  }
  t.equal(renderToString(createElement(StrictMode, null, createElement(Count))), '<p>7 connecting undefined</p>')
  await turn()
  t.equal(server.asked.length, 0)
})

t.test('without options the state is the last event', async t => {
  const Last = (): ReactElement => createElement('p', null, String(useStream('/').state))
  t.equal(renderToString(createElement(Last)), '<p>undefined</p>')
})

t.test('another URL or key in a later render makes another state at once', async t => {
  const Job = (): ReactElement => {
    const [id, setId] = useState(1)
    const [key, setKey] = useState('a')
    const { state, status } = useStream(id === 2 ? null : `/jobs/${id}`, {
      key,
      reduce: (state: string) => state,
      initialState: `job ${id} ${key}`
    })
    if (id === 1) setId(2)
    else if (key === 'a') setKey('b')
    return createElement('p', null, `${state} ${status}`)
  }
  t.equal(renderToString(createElement(Job)), '<p>job 2 b closed</p>')
})
