// SPDX-License-Identifier: Apache-2.0

/** Reverse-mode automatic differentiation, optimizers and gradient checks. */
module io.sfumato.autograd {
  requires transitive io.sfumato.tensor;
  requires static transitive org.jspecify;

  exports io.sfumato.autograd;
  exports io.sfumato.autograd.check;
  exports io.sfumato.autograd.optim;
}
