"""Goes through the life of a kernel with the package sorna-client, as its users did; prints one JSON object."""

import json

from sorna import kernel
from sorna.exceptions import SornaAPIError
from sorna.request import Request


def send(path, data=None):
    request = Request('GET', path, data)
    request.sign()
    return request.send().json()


seen = {'version': send('/')['version'], 'authorized': send('/authorize', {'echo': 'x'})}
kernel_id = kernel.create_kernel('python3', 'a-client-token')
seen['same'] = kernel.create_kernel('python3', 'a-client-token') == kernel_id
seen['result'] = kernel.execute_code(kernel_id, 'code-1', 'x = "ä"\nprint("hello", x)')
seen['failure'] = kernel.execute_code(kernel_id, 'code-1', 'a_missing_name')
seen['info'] = kernel.get_kernel_info(kernel_id)
kernel.restart_kernel(kernel_id)
seen['restarted'] = kernel.execute_code(kernel_id, 'code-2', '"x" in globals()')
kernel.destroy_kernel(kernel_id)
try:
    kernel.get_kernel_info(kernel_id)
except SornaAPIError as error:
    seen['gone'] = error.args[0]
print(json.dumps(seen))
