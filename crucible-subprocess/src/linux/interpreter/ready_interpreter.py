# The bootstrap of an interpreter that starts ahead of its program. The interpreter finds it in place
# of the site's own `sitecustomize`. The bootstrap imports modules, makes the interpreter wait until
# its program is known, and removes every trace of itself.
def wait(modules):
    import os
    import sys

    imported = set(sys.modules)

    # Exit functions run in reverse order of registration. This one is the first to be registered, so
    # it runs after all exit functions of the program.
    import atexit

    @atexit.register
    def unload_modules():
        # The interpreter does not tear down modules that are missing from the table. A module that
        # the program has added names to stays in the table.
        for name, (module, size) in loaded.items():
            if table.get(name) is module and len(vars(module)) == size:
                del table[name]

    table = sys.modules
    loaded = {}
    if "atexit" not in imported:
        del sys.modules["atexit"]
    here = os.path.dirname(__file__)
    sys.path[:] = [entry for entry in sys.path if entry != here]
    sys.path_importer_cache.pop(here, None)
    os.environ.pop("PYTHONPATH", None)
    del sys.modules["sitecustomize"]
    for name in ["sitecustomize", *modules]:
        try:
            __import__(name)
        except BaseException:
            # The program's own import reports the missing module.
            pass
    # The site imports `usercustomize` after this module. It does not depend on the program, so it is
    # imported now and skipped later.
    import site

    if site.ENABLE_USER_SITE:
        execusercustomize = site.execusercustomize
        execusercustomize()

        def skip_usercustomize():
            site.execusercustomize = execusercustomize

        site.execusercustomize = skip_usercustomize
    for directory in [os.path.join(here, "__pycache__"), here]:
        if os.path.isdir(directory):
            for name in os.listdir(directory):
                os.unlink(os.path.join(directory, name))
            os.rmdir(directory)
    # Right before its program, the interpreter asks the path hooks whether the program is an archive.
    # The host accepts no archives, so that the hook is free to wait for the program there.
    program = os.path.abspath(sys.argv[0]) if sys.version_info >= (3, 9) else sys.argv[0]
    hooks = sys.path_hooks

    def wait_hook(path):
        if path == program:
            sys.path_hooks = hooks
            # The caller borrows its reference to the list of hooks, and the interpreter borrows its
            # reference to the `atexit` module. Both have to stay alive.
            freeze_objects(wait_hooks, atexit)
            read_start_message()
        else:
            for hook in hooks:
                try:
                    return hook(path)
                except ImportError:
                    pass
        raise ImportError("there is none", path=path)

    wait_hooks = sys.path_hooks = [wait_hook]

    def freeze_objects(*held):
        was_imported = "gc" in sys.modules
        import gc

        # The current objects live until the end, and even then they are not torn down: that would
        # take half of the time of a short program. The list of kept objects contains itself, and the
        # collector does not visit frozen objects.
        #
        # The program's own module ends as usual: objects that are collected with it must not be
        # frozen, and an empty dictionary is not tracked. The streams end as usual too, because their
        # end writes the buffered output.
        own = vars(sys.modules["__main__"])
        content = dict(own)
        own.clear()
        gc.collect()
        if not gc.is_tracked(own):
            ends = {id(sys.modules["__main__"])}
            for stream in [sys.stdin, sys.stdout, sys.stderr]:
                ends |= {id(stream), id(stream.buffer), id(getattr(stream.buffer, "raw", None))}
            kept = [thing for thing in gc.get_objects() if id(thing) not in ends]
            kept.append(kept)
            del kept, ends
            gc.freeze()
        own.update(content)
        del own, content
        if not was_imported:
            del sys.modules["gc"]
        for name, module in sys.modules.items():
            if name not in {"__main__", "builtins", "sys"} and type(module) is type(sys):
                loaded[name] = module, len(vars(module))

    def read(count):
        data = b""
        while len(data) < count:
            piece = os.read(0, count - len(data))
            if not piece:
                # The host has closed the pipe.
                os._exit(1)
            data += piece
        return data

    def read_start_message():
        # The host put one byte into the pipe. Once it is read, the host knows that the interpreter
        # is ready.
        read(1)
        lengths = read(16)
        arguments = read(int(lengths[:8], 16)).split(b"\0")[:-1]
        variables = read(int(lengths[8:], 16)).split(b"\0")[:-1]
        arguments = [os.fsdecode(argument) for argument in arguments]
        sys.argv += arguments
        if hasattr(sys, "orig_argv"):
            sys.orig_argv += arguments
        for variable in variables:
            name, _, value = variable.partition(b"=")
            os.environb[name] = value

    if "sitecustomize" not in sys.modules:
        # The site has no such module. The importer of this module ignores the error.
        raise ImportError("there is none", name="sitecustomize")


