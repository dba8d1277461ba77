import rxgraphql

from chat.mutations import Mutation
from chat.queries import Query

schema = rxgraphql.Schema(query=Query, mutation=Mutation)
