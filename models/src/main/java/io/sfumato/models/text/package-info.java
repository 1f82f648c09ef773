// SPDX-License-Identifier: Apache-2.0
/** Text encoders and their tokenizers. */
@NullMarked
package io.sfumato.models.text;

import org.jspecify.annotations.NullMarked;
