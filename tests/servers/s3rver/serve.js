// SPDX-License-Identifier: Apache-2.0
// Serve one directory with s3rver, plain and over TLS: serve.js INSTALLED DIRECTORY KEY CERTIFICATE
//
// s3rver answers a put before the bytes are in its file, and of one whose connection ends midway it keeps the half
// that came: then stories about what survives would judge s3rver and not us.  So a put is made atomic here.
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const [, , installed, directory, key, cert] = process.argv;
const S3rver = require(`${installed}/node_modules/s3rver`);
const Store = require(`${installed}/node_modules/s3rver/lib/stores/filesystem`);

let puts = 0;

Store.prototype.putObject = async function putObject(object) {
    const chunks = [];
    for await (const chunk of object.content) {         // throws when the connection ends first
        chunks.push(chunk);
    }
    const body = Buffer.concat(chunks);
    const file = this.getResourcePath(object.bucket, object.key, 'object');
    const temporary = path.join(directory, `.put-${puts++}`);
    await fs.promises.mkdir(path.dirname(file), { recursive: true });
    await fs.promises.writeFile(temporary, body);
    await fs.promises.rename(temporary, file);
    const md5 = crypto.createHash('md5').update(body).digest('hex');
    await this.putMetadata(object.bucket, object.key, object.metadata, md5);
    return { size: body.length, md5 };
};

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
