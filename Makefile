# The one place for commands. Each target sets up what it needs.
#
#   make demo     train on MNIST (installs a software Vulkan driver when no adapter is found and it may)
#   make test     every test, on every adapter found
#   make check    what CI checks beside the tests: format, lints, documentation, examples
#   make bench    the benchmark workloads; NAMES="W8 W12" chooses some

SHELL := /bin/sh
CARGO ?= cargo
NAMES ?=
DEMO_ARGS ?=
# OpenGL without a window system, where it is all there is.
export EGL_PLATFORM ?= surfaceless
export XDG_RUNTIME_DIR ?= /tmp

.PHONY: demo test check bench adapter

demo: adapter
	$(CARGO) run --locked --example mnist -- $(DEMO_ARGS)

test: adapter
	$(CARGO) test --locked --lib --tests
	$(CARGO) test --locked --doc

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
	$(CARGO) build --locked --examples

bench: adapter
	$(CARGO) bench --locked --bench workloads -- $(NAMES)

# Without any adapter: Debian's software Vulkan driver, where it may be installed.
adapter:
	@command -v $(CARGO) >/dev/null || { echo "Rust is needed: https://rustup.rs"; exit 1; }
	@$(CARGO) build --quiet --locked --example devices
	@if $(CARGO) run --quiet --locked --example devices -- --any; then :; \
	elif [ -n "$$RECURVE_NO_INSTALL" ] || ! command -v apt-get >/dev/null; then \
		echo "No GPU adapter, and none may be installed: install a Vulkan driver (Debian: mesa-vulkan-drivers)."; \
	elif [ "$$(id -u)" = 0 ]; then $(INSTALL); \
	elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then sudo sh -c '$(INSTALL)'; \
	else echo "No GPU adapter: run 'apt-get install mesa-vulkan-drivers' as root, then this again."; fi

INSTALL = echo "No GPU adapter: installing the software Vulkan driver mesa-vulkan-drivers."; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq && apt-get install -y -qq --no-install-recommends mesa-vulkan-drivers >/dev/null \
	|| echo "mesa-vulkan-drivers could not be installed; going on without an adapter."
