import { defineConformance } from '../support/conformance-suite.ts'

// Kernels of others, which take seconds to start.
defineConformance((lang) => lang.includes(':'))
