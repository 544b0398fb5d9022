# An interpreter that is started ahead of its program finds this in place of the site's own `sitecustomize`: it imports what is wanted,
# waits until there is a program, and leaves nothing of itself.
def wait(modules):
    import os
    import sys

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
    import gc

    # What is there now stays until the end, and is not taken apart even then: half of the time of a short program would go there. It
    # holds itself, where nobody looks for what does.
    gc.collect()
    kept = gc.get_objects()
    kept.append(kept)
    del kept
    gc.freeze()
    del sys.modules["gc"]
    for directory in [os.path.join(here, "__pycache__"), here]:
        if os.path.isdir(directory):
            for name in os.listdir(directory):
                os.unlink(os.path.join(directory, name))
            # The last one tells the host that all of this is done.
            os.rmdir(directory)

    def read(count):
        data = b""
        while len(data) < count:
            piece = os.read(0, count - len(data))
            if not piece:
                # The host has given this up.
                os._exit(1)
            data += piece
        return data

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


