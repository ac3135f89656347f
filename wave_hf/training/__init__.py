"""The library under the example scripts: arguments, data, tasks, loading, training, checkpoints, errors.

Unlike the rest of `wave_hf`, the names in this package may change between minor versions. It needs the extra `train`:
`pip install 'wave_hf[train]'`.
"""
