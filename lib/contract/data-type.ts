import type { SchemaWithTexts } from '../schema/texts.ts'
import type { StandardSchema } from '../schema/vendor.ts'

/**
 * A schema of an event's data: of TypeBox (`@sinclair/typebox` 0.34 or `typebox` 1.x), of a library with Standard
 * Schema (Zod, Valibot, ArkType), or a JSON Schema. The compiler knows it by its shape, so that a program needs only
 * the library that it uses. An array and a function have a length: they are no schema, except a function of ArkType.
 */
export type EventSchema = StandardSchema | SchemaLiteral | (object & { readonly length?: undefined })

// A literal has the keywords of JSON Schema.
interface SchemaLiteral { readonly [keyword: string]: unknown, readonly length?: undefined }

// The types of TypeBox 0.34 by their shape: the declarations of ES modules and of CommonJS have different symbols.
interface SinclairSchema { params: unknown[], static: unknown }

interface TypedStandardSchema<Data> {
  readonly '~standard': { readonly types?: { readonly output: Data } | undefined }
}

/** A schema that has the type of its data, so that no type provider is needed. */
export type SelfTyped = SinclairSchema | TypedStandardSchema<unknown> | SchemaWithTexts

/**
 * The type of an event's data by its schema. Of a Standard Schema, the type of its output; of TypeBox 1.x and of a JSON
 * Schema with literal types (`as const`, or written in the route), by its keywords; `unknown` if the schema does not
 * tell.
 */
export type DataOf<S> = S extends SchemaWithTexts<infer Inner, infer Text> ? Text | DataOf<Inner>
  : S extends SinclairSchema ? (S & { params: [] })['static']
    : S extends TypedStandardSchema<infer Data> ? Data
      : JsonData<S>

// Distributes over the schemas of `anyOf`.
type JsonData<S> = S extends boolean ? S extends true ? unknown : never
  : S extends { readonly '~unsafe': infer T } ? T
    : (keyof S & ('anyOf' | 'oneOf' | 'allOf') extends never ? OwnData<S> : OwnData<S> & CombinedData<S>)
      | (S extends { readonly nullable: true } ? null : never)

type CombinedData<S> =
  & (S extends { readonly anyOf: ReadonlyArray<infer T> } ? JsonData<T> : unknown)
  & (S extends { readonly oneOf: ReadonlyArray<infer T> } ? JsonData<T> : unknown)
  & (S extends { readonly allOf: infer T } ? AllData<T> : unknown)

type AllData<T> = T extends readonly [infer First, ...infer Rest] ? JsonData<First> & AllData<Rest> : unknown

type OwnData<S> = S extends { readonly const: infer T } ? T
  : S extends { readonly enum: ReadonlyArray<infer T> } ? T
    : S extends { readonly type: infer T } ? DataOfType<S, T>
      : S extends { readonly properties: object } ? ObjectData<S> : unknown

// Distributes over a list of types.
type DataOfType<S, T> = T extends 'object' ? ObjectData<S>
  : T extends 'string' ? string
    : T extends 'number' | 'integer' ? number
      : T extends 'boolean' ? boolean
        : T extends 'null' ? null
          : T extends 'array' ? ArrayData<S>
            : T extends ReadonlyArray<infer U> ? DataOfType<S, U> : unknown

type ObjectData<S> = S extends { readonly properties: infer P } ? keyof P extends never ? OtherData<S, object>
  : unknown extends OtherData<S, unknown> ? DeclaredData<S, P> : DeclaredData<S, P> & OtherData<S, unknown>
  : OtherData<S, object>

type DeclaredData<S, P> = S extends { readonly required: ReadonlyArray<infer R> }
  ? keyof P extends R ? { -readonly [K in keyof P]: JsonData<P[K]> }
    : Flat<{ -readonly [K in keyof P as Extract<K, R>]: JsonData<P[K]> } & {
      -readonly [K in keyof P as Exclude<K, R>]?: JsonData<P[K]>
    }>
  : { -readonly [K in keyof P]?: JsonData<P[K]> }

type Flat<T> = { [K in keyof T]: T[K] }

// The serializer sends a property that the schema does not declare only if the schema allows such properties in words.
type OtherData<S, Otherwise> = S extends { readonly additionalProperties: infer A }
  ? A extends false ? Otherwise : A extends true ? Record<string, unknown>
    : Otherwise extends object ? Record<string, JsonData<A>> : Record<string, unknown>
  : S extends { readonly patternProperties: infer P }
    ? Otherwise extends object ? Record<string, JsonData<P[keyof P]>> : Record<string, unknown>
    : Otherwise

type ArrayData<S> = S extends { readonly prefixItems: infer T extends readonly unknown[] }
  ? S extends { readonly items: false } ? TupleData<T>
    : S extends { readonly items: infer I extends object } ? [...TupleData<T>, ...Array<JsonData<I>>]
      : [...TupleData<T>, ...unknown[]]
  : S extends { readonly items: infer I } ? I extends readonly unknown[] ? TupleData<I> : Array<JsonData<I>>
    : unknown[]

type TupleData<T extends readonly unknown[]> = { -readonly [K in keyof T]: JsonData<T[K]> }
