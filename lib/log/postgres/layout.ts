import { APPEND_FUNCTIONS } from './append-functions.ts'
import { connectionOf, rowsOf, types, type PostgresPool, type PostgresPoolClient } from './client.ts'
import { codeOf, isMissing, LayoutError } from './log-error.ts'
import { PUBLISH_FUNCTIONS } from './publish-functions.ts'
import { READ_FUNCTIONS } from './read-functions.ts'
import { TABLES, VERSION } from './tables.ts'

const FOREIGN = 'holds other data, so use another schema'

/** The statements that create the tables and functions in a schema. */
export const layoutOf = (schema: string): string =>
  [TABLES, APPEND_FUNCTIONS, PUBLISH_FUNCTIONS, READ_FUNCTIONS].join('').replaceAll("'@'", `'${schema}'`)
    .replaceAll('@', `"${schema}"`)

/**
 * Creates the tables and functions, if they are missing: one node does, and others wait. Resolves with the secret of
 * the schema. Rejects with a LayoutError if the schema holds other tables, or those of a newer version.
 */
export async function createLayout (pool: PostgresPool, schema: string): Promise<string> {
  try {
    return await secretOf(pool, schema)
  } catch (error) {
    if (!isMissing(error)) throw asLayoutError(error)
    const client = await connectionOf(pool)
    let failure: Error | undefined
    let secret: string
    try {
      secret = await createOn(client, schema)
    } catch (error) {
      failure = error as Error
      throw asLayoutError(error)
    } finally {
      // The connection may be within a transaction.
      client.release(failure)
    }
    return secret
  }
}

async function secretOf (connection: PostgresPool | PostgresPoolClient, schema: string): Promise<string> {
  // A newer version may have other columns.
  const [row] = await rowsOf(connection, `SELECT version, to_jsonb(l)->>'secret' FROM "${schema}".layout l`)
  const version = Number(row?.[0])
  if (version > VERSION) throw new LayoutError('is of a newer version of this package')
  if (!(version >= 1) || row?.[1] == null) throw new LayoutError(FOREIGN)
  return row[1]
}

async function createOn (client: PostgresPoolClient, schema: string): Promise<string> {
  await rowsOf(client, 'BEGIN')
  await rowsOf(client, `SELECT pg_advisory_xact_lock(hashtextextended('fastify-typed-sse ${schema}', 0))`)
  const [row] = await rowsOf(client, `SELECT to_regnamespace('"${schema}"'), to_regclass('"${schema}".layout')`)
  // The right to create a schema is needed only if there is none.
  if (row?.[0] === null) await rowsOf(client, `CREATE SCHEMA "${schema}"`)
  // Without values, a query may have many statements.
  if (row?.[1] === null) await client.query({ text: layoutOf(schema), rowMode: 'array', types })
  const secret = await secretOf(client, schema)
  await rowsOf(client, 'COMMIT')
  return secret
}

// A table, a function or a column of that name is another one.
const asLayoutError = (error: unknown): unknown =>
  /^(?:42P07|42710|42723|42703|42809)$/.test(codeOf(error) ?? '') ? new LayoutError(FOREIGN, { cause: error }) : error
