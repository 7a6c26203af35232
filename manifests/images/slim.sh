#!/bin/sh
# Removes from an environment what nothing here opens; run where it is installed, so that no layer keeps it.
#   - the tests that packages bring
#   - where there is no torch, so that reprune alone runs: of the AWS client all services but S3 and those that credentials come from, and
#     ONNX Runtime's tools to quantize
#   - of Arrow: its servers, its encryption, its headers, and a client of S3 beside boto3's
set -eu
cd "$1"/lib/python3*/site-packages
for package in numpy scipy matplotlib pandas pyarrow onnx/backend sklearn; do
  if [ -d $package ]; then find $package -type d \( -name tests -o -path onnx/backend/test \) -prune -exec rm -r {} +; fi
done
if [ ! -d torch ]; then
  rm -r onnxruntime/quantization onnxruntime/tools onnxruntime/transformers
  find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -r {} +
fi
if [ -d pyarrow ]; then
  rm -r pyarrow/include pyarrow/src
  find pyarrow \( -name '*_flight*' -o -name '*_s3*.so*' -o -name '*_encryption*.so*' -o -name '*cpp_tests*' \) -delete
fi
