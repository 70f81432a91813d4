import { isOptions } from '../../validate-options.ts'

/** A statement, with the answer as text: parsers that the user has set do not count. */
export interface PostgresQuery {
  readonly text: string
  readonly values?: unknown[]
  readonly rowMode: 'array'
  /** Milliseconds, after which the pool replaces the connection. */
  readonly query_timeout?: number | undefined
  readonly types: { getTypeParser: () => (text: string) => string }
}

/** The used part of a connection: fits `Client` and `PoolClient` of pg 8, from any copy of the package. */
export interface PostgresConnection {
  query (query: PostgresQuery): Promise<{ rows: unknown[][] }>
}

/** A connection of its own, for the listener. */
export interface PostgresClient extends PostgresConnection {
  on (event: string, listener: (...args: never[]) => void): unknown
  connect (): Promise<unknown>
  end (): Promise<void>
}

/** A connection of a pool. */
export interface PostgresPoolClient extends PostgresConnection {
  on (event: string, listener: (...args: never[]) => void): unknown
  release (destroy?: Error | boolean): void
}

/** The used part of a pool: fits `Pool` of pg 8. */
export interface PostgresPool extends PostgresConnection {
  readonly ending?: boolean
  readonly options?: { readonly max?: number | undefined }
  connect (callback: (error: Error | undefined, client: PostgresPoolClient | undefined) => void): void
}

// A pool would take a connection without the transaction of the user: the event would be published at once.
export const isConnection = (value: unknown): value is PostgresConnection =>
  isOptions(value) && typeof value.query === 'function' && !('totalCount' in value)

/**
 * Resolves with a connection of the pool, whose errors end no process. With the promise of the pool, an error that
 * follows the connection at once would have no listener yet.
 */
export function connectionOf (pool: PostgresPool): Promise<PostgresPoolClient> {
  return new Promise((resolve, reject) => {
    pool.connect((error, client) => {
      if (client === undefined) return reject(error)
      client.on('error', () => {})
      resolve(client)
    })
  })
}

/** Parsers that keep the text. */
export const types = { getTypeParser: () => (text: string) => text }

/** Runs a statement on a connection. Resolves with its rows, each an array of texts. */
export async function rowsOf (
  connection: PostgresConnection,
  text: string,
  values: unknown[] = [],
  timeout?: number
): Promise<Array<Array<string | null>>> {
  // No name: a prepared statement would stay in a session, which a pooler may share.
  const { rows } = await connection.query({ text, values, rowMode: 'array', types, query_timeout: timeout })
  return rows as Array<Array<string | null>>
}
