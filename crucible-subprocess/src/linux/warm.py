# An interpreter that is started ahead of its program finds this in place of the site's own `sitecustomize`: it imports what is wanted,
# has the interpreter wait until there is a program, and leaves nothing of itself.
def wait(modules):
    import os
    import sys

    imported = set(sys.modules)

    # The first that is registered is the last that is called: whatever the program does at its end comes before.
    import atexit

    @atexit.register
    def leave():
        # What is not among the modules is not taken apart at the end. One that the program has put something into is.
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
            # What is missing is missing for the program too, whose own import says so.
            pass
    # The site looks for this after us. It has nothing to do with whatever program there will be.
    import site

    if site.ENABLE_USER_SITE:
        look = site.execusercustomize
        look()

        def was_done():
            site.execusercustomize = look

        site.execusercustomize = was_done
    for directory in [os.path.join(here, "__pycache__"), here]:
        if os.path.isdir(directory):
            for name in os.listdir(directory):
                os.unlink(os.path.join(directory, name))
            os.rmdir(directory)
    # The last thing that an interpreter does before its program is to look whether that is an archive, by asking these. Ours never is.
    program = os.path.abspath(sys.argv[0]) if sys.version_info >= (3, 9) else sys.argv[0]
    hooks = sys.path_hooks

    def look_at(path):
        if path == program:
            sys.path_hooks = hooks
            # Whoever asks has a list of these without a claim to it, and so has the interpreter the module that it calls at its end.
            settle(ours, atexit)
            take_word()
        else:
            for hook in hooks:
                try:
                    return hook(path)
                except ImportError:
                    pass
        raise ImportError("there is none", path=path)

    ours = sys.path_hooks = [look_at]

    def settle(*held):
        was_there = "gc" in sys.modules
        import gc

        # What is there now stays until the end, and is not taken apart even then: half of the time of a short program would go there. It
        # holds itself, where nobody looks for what does. The program's own module ends as it always does: what is collected with it must
        # not be among what is frozen, and a dictionary with nothing in it is not. So do the streams: their end writes what is left.
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
        if not was_there:
            del sys.modules["gc"]
        for name, module in sys.modules.items():
            if name not in {"__main__", "builtins", "sys"} and type(module) is type(sys):
                loaded[name] = module, len(vars(module))

    def read(count):
        data = b""
        while len(data) < count:
            piece = os.read(0, count - len(data))
            if not piece:
                # The host has given this up.
                os._exit(1)
            data += piece
        return data

    def take_word():
        # A byte is there from the beginning: that it has been read tells the host that all of this is done.
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
        # The site has none of its own. Whoever imported this takes that for the usual case, and forgets about it.
        raise ImportError("there is none", name="sitecustomize")


