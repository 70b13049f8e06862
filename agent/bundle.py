"""Makes the file that is run in sandboxes: bundle.py OUT.pyz FOLDER...

An uncompressed zip of compiled modules for the interpreter that runs this: package `cob_agent`
(this folder), package `cob_lang` (the modules of the given folders, one name once) and `__main__`. Equal sources give equal bytes.
"""

import importlib._bootstrap_external as bootstrap
import os
import sys
import tempfile
import zipfile
from pathlib import Path

_NOT_SHIPPED = {'bundle.py'}


def bundle(out, lang_folders):
    """Writes the bundle to `out`, replacing it in one step."""
    agent_folder = Path(__file__).resolve().parent
    entries = {'cob_agent/__init__.pyc': _compiled('', 'agent'), 'cob_lang/__init__.pyc': _compiled('', 'lang')}
    for package, folder in (('agent', agent_folder), *(('lang', Path(folder)) for folder in lang_folders)):
        for path in sorted(folder.glob('*.py')):
            if path.name in _NOT_SHIPPED:
                continue
            code = _compiled(path.read_text('utf-8'), f'{package}/{path.name}')
            main = package == 'agent' and path.stem == '__main__'
            name = '__main__.pyc' if main else f'cob_{package}/{path.stem}.pyc'
            if name in entries:
                raise SystemExit(f'{folder}: there is a module {path.stem} already')
            entries[name] = code
    _write(Path(out), entries)


def _compiled(source, name):
    # The file name is seen in tracebacks inside the sandbox; the host's paths must not be.
    code = compile(source, f'<cob>/{name}', 'exec', dont_inherit=True, optimize=2)
    # Hash-based and unchecked: there is no source beside it whose time could be compared.
    return bytes(bootstrap._code_to_hash_pyc(code, b'\0' * 8, False))


def _write(out, entries):
    with tempfile.NamedTemporaryFile(dir=out.parent, prefix=f'.{out.name}.', delete=False) as file:
        try:
            with zipfile.ZipFile(file, 'w', zipfile.ZIP_STORED) as archive:
                for name in sorted(entries):
                    archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), entries[name])
            file.flush()
            os.chmod(file.name, 0o644)
            os.replace(file.name, out)
        except BaseException:
            os.unlink(file.name)
            raise


if __name__ == '__main__':
    if len(sys.argv) < 2:
        sys.exit('usage: bundle.py OUT.pyz FOLDER...')
    bundle(sys.argv[1], sys.argv[2:])
