import type { SinclairTypeBox } from './sinclair-typebox.ts'
import type { TypeBox } from './typebox.ts'

/** The installed versions of TypeBox. */
export interface TypeBoxes {
  readonly sinclair?: SinclairTypeBox | undefined
  readonly typebox?: TypeBox | undefined
}

let loading: Promise<TypeBoxes> | undefined
let loaded: TypeBoxes = {}

/**
 * Loads the installed versions of TypeBox. Both are optional. `import` finds the copy that the program itself imports:
 * the formats and kinds that the program has registered are in it.
 */
export async function loadTypeBoxes (): Promise<void> {
  loading ??= Promise.all([loadSinclairTypeBox(), loadTypeBox()]).then(([sinclair, typebox]) => ({ sinclair, typebox }))
  loaded = await loading
}

/** Returns the versions of TypeBox that are loaded. */
export const typeBoxes = (): TypeBoxes => loaded

const loadSinclairTypeBox = (): Promise<SinclairTypeBox | undefined> =>
  unlessMissing(async () => ({
    ...await import('@sinclair/typebox'),
    ...await import('@sinclair/typebox/compiler')
  }))

const loadTypeBox = (): Promise<TypeBox | undefined> =>
  unlessMissing(async () => {
    const { Compile } = await import('typebox/schema')
    const { Format } = await import('typebox/format')
    return { Compile: (context, schema) => Compile({ ...context }, schema), hasFormat: Format.Has }
  })

/** Returns the module; undefined if the package is not installed, or if it is another package of that name. */
export async function unlessMissing<T> (load: () => Promise<T>): Promise<T | undefined> {
  try {
    return await load()
  } catch {
    return undefined
  }
}
