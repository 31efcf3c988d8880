"""DSPy's time for what benches/adapter.rs measures: SIGNATURE QUESTION CONTEXT CHAT_ANSWER JSON_ANSWER XML_ANSWER."""
import os
import sys
import timeit

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "true")
import dspy  # noqa: E402

signature, question, context, *answers = sys.argv[1:]
signature = dspy.ChainOfThought(signature).predict.signature
inputs = {"question": question, "context": context}


def show(what, work):
    number = 2000
    print(f"DSPy {what:<33} {min(timeit.repeat(work, number=number, repeat=5)) / number * 1e6:9.2f} µs")


for name, adapter, answer in zip(("chat", "json", "xml"), (dspy.ChatAdapter(), dspy.JSONAdapter(), dspy.XMLAdapter()), answers):
    show(f"{name} format, whole", lambda: adapter.format(signature, [], inputs))
    show(f"{name} format, the turn that changes", lambda: adapter.format_user_message_content(signature, inputs, main_request=True))
    show(f"{name} parse", lambda: adapter.parse(signature, answer))
