// SPDX-License-Identifier: Apache-2.0
/** The emulated driver for tests on machines without a GPU. */
package io.sfumato.cuda.testing;
