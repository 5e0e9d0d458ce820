// Writes the finished site: files with a hash in their names in pkg/, public files at the root, each with its compressed
// forms, and manifest.json, which tells the server the names.
// Usage: node pack-site.mjs <pkg> <public> <site> <brotli quality>
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';

const [pkg, publicFiles, site, quality] = process.argv.slice(2);
const all = createHash('sha256');

/** Writes one file of the site, with `.br` and `.gz` beside it. */
function put(name, bytes) {
  const target = path.join(site, name);
  fs.mkdirSync(path.dirname(target), { recursive: true });
  fs.writeFileSync(target, bytes);
  const params = {
    [zlib.constants.BROTLI_PARAM_QUALITY]: Number(quality),
    [zlib.constants.BROTLI_PARAM_LGWIN]: 22,
    [zlib.constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
  };
  fs.writeFileSync(`${target}.br`, zlib.brotliCompressSync(bytes, { params }));
  fs.writeFileSync(`${target}.gz`, zlib.gzipSync(bytes, { level: 9 }));
  all.update(`${name}\0${bytes.length}\0`).update(bytes);
}

/** Puts a file into pkg/ under a name made of its content, and returns that name. */
function putHashed(name, bytes) {
  const { name: stem, ext } = path.parse(name);
  const hashed = `${stem}-${hash(bytes)}${ext}`;
  put(`pkg/${hashed}`, bytes);
  return hashed;
}

function hash(...parts) {
  const hasher = createHash('sha256');
  for (const part of parts) hasher.update(part);
  return hasher.digest('hex').slice(0, 16);
}

/** Every regular file below a directory, in order, as paths relative to it. */
function filesIn(directory) {
  if (!fs.existsSync(directory)) return [];
  return fs
    .readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(directory, path.join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
}

const read = (name) => fs.readFileSync(path.join(pkg, name));

/** Replaces what must be there: a wasm-bindgen that writes something else is to fail here, not in the browser. */
function rename(text, from, to) {
  if (!text.includes(from)) throw new Error(`the generated JavaScript does not name ${from}`);
  return text.replaceAll(from, to);
}

fs.rmSync(site, { recursive: true, force: true });

const wasm = putHashed('holdfast.wasm', read('holdfast_bg.wasm'));
let script = rename(read('holdfast.js').toString(), 'holdfast_bg.wasm', wasm);

// JavaScript that crates bring along. It may import its neighbours, so the directory carries the hash.
const snippets = filesIn(path.join(pkg, 'snippets'));
if (snippets.length > 0) {
  const contents = snippets.map((name) => read(`snippets/${name}`));
  const directory = `snippets-${hash(...contents)}`;
  snippets.forEach((name, at) => put(`pkg/${directory}/${name}`, contents[at]));
  script = rename(script, './snippets/', `./${directory}/`);
}

const js = putHashed('holdfast.js', Buffer.from(script));
const css = putHashed('holdfast.css', read('holdfast.css'));

const known = new Set(['holdfast.js', 'holdfast_bg.wasm', 'holdfast.css', ...snippets.map((name) => `snippets/${name}`)]);
const unknown = filesIn(pkg).filter((name) => !known.has(name));
if (unknown.length > 0) throw new Error(`no place for ${unknown.join(', ')}`);

for (const name of filesIn(publicFiles)) put(name, fs.readFileSync(path.join(publicFiles, name)));

// `site` changes with any file, so that a program that embeds the site is built again.
const manifest = { js, wasm, css, site: all.digest('hex').slice(0, 16) };
fs.writeFileSync(path.join(site, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
