// SPDX-License-Identifier: Apache-2.0

// @start region="module"
/** A user's module: one line brings tensors, gradients and models. */
module example.modular {
  requires io.sfumato.models;
}
// @end
