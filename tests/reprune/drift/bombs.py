"""Small files that declare, or unpack to, far more than they hold."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

COUNT = 12_345
"""Rows of the Parquet file whose footer is changed; its varint does not occur by chance."""


def npz(path, shape, dtype="<f8", data=b"", *, name="input", method=zipfile.ZIP_STORED):
    """Write an array whose header declares a shape, with data that need not be as much."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": tuple(shape)})
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(f"{name}.npy", header.getvalue() + data)
    return path


def directory_of(path, *, size):
    """Change the unpacked size that the directory and the entry of a zip archive of one entry declare."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.rindex(b"PK\x01\x02") + 24, size)
    struct.pack_into("<I", data, 22, size)
    path.write_bytes(bytes(data))
    return path


def overlapping(path, entries, *, values=1 << 18):
    """Write an archive whose directory names the same packed bytes again and again."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (values,)})
    plain = header.getvalue() + bytes(values)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflate.compress(plain) + deflate.flush()
    sizes, crc = (len(packed), len(plain)), zlib.crc32(plain)
    name = b"input.npy"
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0, crc, *sizes, len(name), 0) + name + packed
    directory = b""
    for i in range(entries):
        named = name if i == 0 else f"{i:05}.npy".encode()
        fields = (b"PK\x01\x02", 20, 20, 0, 8, 0, 0, crc, *sizes, len(named), 0, 0, 0, 0, 0, 0)
        directory += struct.pack("<4s6H3L5H2L", *fields) + named
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, entries, entries, len(directory), len(local), 0)
    path.write_bytes(local + directory + end)
    return path


def parquet(path, rows):
    """Write a Parquet file of 12,345 rows whose footer declares another number wherever it declares that one."""
    written = io.BytesIO()
    pq.write_table(pa.table({"input": np.zeros(COUNT)}), written, write_statistics=False)
    data = written.getvalue()
    length = struct.unpack("<I", data[-8:-4])[0]
    footer = data[-8 - length : -8]
    footer = footer.replace(_varint(COUNT), _varint(rows))
    path.write_bytes(data[: -8 - length] + footer + struct.pack("<I", len(footer)) + b"PAR1")
    assert pq.read_metadata(path).num_rows == rows
    return path


def _varint(number):
    """Return a number as Thrift's compact protocol writes an integer."""
    number, found = number << 1, bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def endless_line(path, size=8 << 20):
    """Write a CSV file that is one line."""
    path.write_bytes(b"input\n" + b"1" * size)
    return path
