ADVICE = ""
