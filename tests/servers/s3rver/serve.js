// SPDX-License-Identifier: Apache-2.0
// Serve one directory with s3rver, plain and over TLS: serve.js INSTALLED DIRECTORY KEY CERTIFICATE
const fs = require('fs');
const [, , installed, directory, key, cert] = process.argv;
const S3rver = require(`${installed}/node_modules/s3rver`);

async function main() {
    const common = { address: '127.0.0.1', port: 0, directory, vhostBuckets: false, silent: true };
    const plain = await new S3rver(common).run();
    const secure = await new S3rver({ ...common, key: fs.readFileSync(key), cert: fs.readFileSync(cert) }).run();
    console.log(`listening ${plain.port} ${secure.port}`);
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
