// Node maps nothing: this uses calls. Obeys `load PAGE`, `store PAGE BYTE`, `sync`.
const fs = require('fs');
const page = 4096;
const file = fs.openSync(process.argv[2], 'r+');
const byte = Buffer.alloc(1);

function obey([word, at, value]) {
  if (word === 'load') {
    fs.readSync(file, byte, 0, 1, at * page);
    return `ok ${byte[0]}`;
  }
  if (word === 'store') fs.writeSync(file, Buffer.from([value]), 0, 1, at * page);
  else fs.fsyncSync(file);
  return 'ok';
}

console.log('ready');
require('readline').createInterface({input: process.stdin}).on('line', (line) => {
  try {
    console.log(obey(line.split(' ')));
  } catch (error) {
    console.log(`caught ${error.code}`);
  }
});
