import { defineConformance } from '../support/conformance-suite.ts'

defineConformance((lang) => !lang.includes(':'))
