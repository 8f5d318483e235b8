"""The shell around `states`: reads clusters over SSH, sends the steps the tables name, and writes down what it did."""
