"""Settings of Sphinx for the API pages: `sphinx-build -W --keep-going docs/api build/api`."""

import re

project = "esrgan_jax"
html_title = "esrgan_jax"
html_theme = "furo"
html_show_copyright = False
html_show_sphinx = False
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
default_role = "py:obj"  # single backticks: a link where the name is known, code where it is not
smartquotes = False
maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"

autodoc_default_options = {"members": True, "special-members": "__call__", "exclude-members": "param_dtype"}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
autodoc_type_aliases = {
    name: name
    for name in ("Batch", "Devices", "Iterate", "Metrics", "PathOrName", "Prepare", "StateDict", "States")
}
napoleon_numpy_docstring = False
# All alike, and "a, b: ..." stays one line.
napoleon_custom_sections = [(section, "params_style") for section in ("Args", "Attributes", "Raises")]

_COLON = "\0"


def _shorten_signature(app, what, name, obj, options, signature, returns):
    """Leave out what linen adds to each module and the arguments of protocols; write defaults as code."""
    if signature == "(*args, **kwargs)":
        return "", returns
    if signature:
        signature = re.sub(r"(, )?parent: [^=]*=[^,]*, name: str \| None = None\)$", ")", signature)
        signature = re.sub(r"<class 'jax.numpy.(\w+)'>", r"jnp.\1", signature)
        signature = re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", signature)
        signature = re.sub(r"<(function [^<>]*(<locals>[^<>]*)?|factory)>", "...", signature)
    return signature, returns


def _prepare_docstring(app, what, name, obj, options, lines):
    """Mark indented examples as code, and hide colons that Napoleon would take for the end of a constant's type."""
    for i in reversed(range(2, len(lines))):
        if lines[i].startswith("    ") and not lines[i - 1] and lines[i - 2][:1].strip():
            lines[i:i] = ["::", ""]
    if what in ("attribute", "data", "property") and lines:
        lines[0] = lines[0].replace(":", _COLON)


def _finish_docstring(app, what, name, obj, options, lines):
    """Show the hidden colons; write a colon behind the names of arguments."""
    lines[:] = [line.replace(_COLON, ":").replace("** -- ", "**: ") for line in lines]


def _skip_explained(app, what, name, obj, skip, options):
    """Leave out properties of protocols that their class explains."""
    return True if getattr(obj, "__doc__", None) == "See the class." else None


def setup(app):
    """Connect the functions above with autodoc's events; Napoleon has priority 500."""
    app.connect("autodoc-process-signature", _shorten_signature)
    app.connect("autodoc-process-docstring", _prepare_docstring, priority=400)
    app.connect("autodoc-process-docstring", _finish_docstring, priority=600)
    app.connect("autodoc-skip-member", _skip_explained)
